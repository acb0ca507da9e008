"""The administration API under odd paths: ids that are none, and an app that is mounted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Message

from functions.http.api_app import create_api_app
from shared.accounts.accounts import Accounts, open_accounts
from shared.accounts.audit_log import Actor
from shared.config.settings import Settings
from tests.app_server import AppServer


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the store is."""
    return tmp_path_factory.mktemp("paths")


@pytest.fixture(scope="module")
def accounts(directory: Path) -> Iterator[Accounts]:
    """The accounts in it."""
    with closing(open_accounts("sqlite", directory)) as accounts:
        yield accounts


@pytest.fixture(scope="module")
def server(log_directory: Path, directory: Path, accounts: Accounts) -> Iterator[AppServer]:
    """A server with accounts."""
    options = ("--accounts", "true", "--data-dir", str(directory), "--alias", "small,s")
    server = AppServer(log_directory / "paths.log", *options)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def admin_key(accounts: Accounts) -> str:
    """The administrator's key."""
    return accounts.keys.issue(Actor(), "operator", None)[1]


@pytest.fixture(scope="module")
def project_id(accounts: Accounts) -> str:
    """A project."""
    return accounts.projects.create(Actor(), "shop").id


_ODD = ("x" * 3000, "\0", "é\U0001f600", "%", "a/b", "'; DROP TABLE records", "\n", "#a#b")


@pytest.mark.parametrize("odd", _ODD)
@pytest.mark.parametrize(
    "path",
    [
        "projects/ODD",
        "projects/ODD/service_accounts",
        "projects/ODD/api_keys",
        "projects/ODD/rate_limits",
        "projects/ODD/spend_limit",
        "projects/PROJECT/api_keys/ODD",
        "projects/PROJECT/service_accounts/ODD",
        "admin_api_keys/ODD",
    ],
)
def test_an_id_that_is_none_is_404(
    server: AppServer, admin_key: str, project_id: str, path: str, odd: str
) -> None:
    path = path.replace("PROJECT", project_id).replace("ODD", quote(odd, safe=""))
    url = f"/v1/organization/{path}"
    found = server.http.get(url, headers={"authorization": f"Bearer {admin_key}"})
    assert found.status_code == 404, found.text


@pytest.mark.parametrize("odd", ["", "rl-", "small", "rl-" + "x" * 257, "rl-..", "rl-a b", "rl-\0"])
def test_a_rate_limit_has_a_models_name(
    server: AppServer, admin_key: str, project_id: str, odd: str
) -> None:
    url = f"/v1/organization/projects/{project_id}/rate_limits/{quote(odd, safe='')}"
    headers = {"authorization": f"Bearer {admin_key}"}
    found = server.http.post(url, json={"max_requests_per_1_minute": 1}, headers=headers)
    assert found.status_code == 404, found.text


def test_a_rate_limit_by_another_of_the_models_names_is_that_of_the_model(
    server: AppServer, admin_key: str, accounts: Accounts
) -> None:
    project = accounts.projects.create(Actor(), "shop")
    url = f"/v1/organization/projects/{project.id}/rate_limits/rl-s"
    headers = {"authorization": f"Bearer {admin_key}"}
    found = server.http.post(url, json={"max_requests_per_1_minute": 1}, headers=headers)
    assert (found.json()["id"], found.json()["max_requests_per_1_minute"]) == ("rl-small", 1)
    assert list(accounts.projects.get(project.id).rate_limits) == ["small"]


@pytest.mark.parametrize("mount", ["", "/llm", "/v1"])
def test_a_projects_key_does_not_administer_where_the_app_is_mounted(
    directory: Path, accounts: Accounts, admin_key: str, mount: str
) -> None:
    project = accounts.projects.create(Actor(), "shop")
    account = accounts.service_accounts.create(Actor(), project.id, "web")
    _, key = accounts.keys.issue(Actor(), "web", account)
    settings = Settings(model="builtin", accounts=True, store="sqlite", data_dir=directory)
    app = create_api_app(settings)
    mounted = Starlette(routes=[Mount(mount, app)])

    async def status(path: str, key: str) -> int:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "http.request", "body": b""}

        scope = {
            "type": "http",
            "method": "GET",
            "path": mount + path,
            "raw_path": (mount + path).encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(b"authorization", b"Bearer " + key.encode())],
        }
        await mounted(scope, receive, send)
        code: int = sent[0]["status"]
        return code

    async def statuses() -> list[int]:
        path = "/v1/organization/projects"
        return [await status(path, key), await status(path, admin_key)]

    try:
        assert asyncio.run(statuses()) == [403, 200]
    finally:
        app.state.server.close()
