"""Playground's endpoint: a completion for a session's key, charged to it, with its limits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import OpenAI

from tests.api.tenants import administered
from tests.app_server import AppServer
from tests.server import CAPITAL

PATH = "/dashboard/playground/completions"
_TOKEN = re.compile(r'<meta name="csrf-token" content="([0-9a-f]{64})">')
_FIELD = re.compile(r'name="csrf_token" value="([0-9a-f]{64})"')


@pytest.fixture(scope="module")
def admin_server(
    log_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[AppServer, OpenAI]]:
    """A server with accounts and prices, and its administrator's client."""
    with administered(log_directory, tmp_path_factory.mktemp("playground")) as found:
        yield found


class Session:
    """A browser that has signed in with a key."""

    def __init__(self, server: AppServer, key: str) -> None:
        self.http = server.client(follow_redirects=False)
        self.own = {"origin": server.url, "sec-fetch-site": "same-origin"}
        page = self.http.get("/dashboard/sign-in")
        found = _FIELD.search(page.text)
        assert found is not None
        form = {"csrf_token": found[1], "key": key}
        response = self.http.post("/dashboard/sign-in", data=form, headers=self.own)
        self.http.cookies.set(*response.headers["set-cookie"].partition(";")[0].split("=", 1))
        token = _TOKEN.search(self.http.get("/dashboard/playground").text)
        assert token is not None
        self.token = token[1]

    def ask(self, token: str | None = None, **fields: Any) -> httpx2.Response:
        """A completion."""
        headers = {**self.own, "x-csrf-token": token or self.token}
        return self.http.post(PATH, json={"messages": CAPITAL, **fields}, headers=headers)


def project_key(admin: OpenAI, name: str) -> tuple[str, str]:
    """A new project and its key."""
    project = admin.admin.organization.projects.create(name=name)
    account = admin.admin.organization.projects.service_accounts.create(project.id, name="web")
    assert account.api_key is not None
    return project.id, account.api_key.value


@pytest.mark.slow
def test_an_answer_is_streamed_and_charged_to_the_sessions_key(
    admin_server: tuple[AppServer, OpenAI],
) -> None:
    server, admin = admin_server
    _, key = project_key(admin, "shop")
    session = Session(server, key)

    response = session.ask(stream=True, temperature=0, store=True, metadata={"from": "playground"})

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert "no-store" in response.headers["cache-control"]
    assert "content-security-policy" in response.headers
    events = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    deltas = [json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events]
    assert "".join(deltas) == "The capital of France is Paris."
    (stored,) = server.openai(api_key=key).chat.completions.list()
    assert stored.metadata == {"from": "playground"}
    holder = server.http.get("/v1/key", headers={"authorization": f"Bearer {key}"}).json()
    assert holder["spending"]["spent"] > 0


def test_limits_hold(admin_server: tuple[AppServer, OpenAI]) -> None:
    server, admin = admin_server
    project, key = project_key(admin, "limited")
    admin.admin.organization.projects.spend_limit.update(
        project, currency="USD", interval="month", threshold_amount=0
    )
    session = Session(server, key)

    response = session.ask(stream=True)

    assert response.status_code == 429
    assert response.json()["error"]["code"] == "insufficient_quota"
    assert "content-security-policy" in response.headers


def test_what_the_api_refuses_is_refused_in_its_words(
    admin_server: tuple[AppServer, OpenAI],
) -> None:
    server, admin = admin_server
    session = Session(server, project_key(admin, "wrong")[1])

    response = session.ask(temperature=3)

    assert response.status_code == 400
    assert response.json()["error"]["param"] == "temperature"


def test_an_admin_key_completes_nothing(admin_server: tuple[AppServer, OpenAI]) -> None:
    server, admin = admin_server
    assert admin.admin_api_key is not None
    session = Session(server, admin.admin_api_key)

    response = session.ask()

    assert response.status_code == 403
    assert response.json()["error"]["code"] == "insufficient_permissions"
    page = session.http.get("/dashboard/playground").text
    assert "An admin key completes nothing" in page


def test_nothing_is_completed_without_the_token_or_the_session(
    admin_server: tuple[AppServer, OpenAI],
) -> None:
    server, admin = admin_server
    session = Session(server, project_key(admin, "csrf")[1])

    assert session.ask(token="0" * 64).status_code == 403
    session.own = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    assert session.ask().status_code == 403
    session.own = {"origin": server.url, "sec-fetch-site": "same-origin"}
    assert session.ask().status_code == 200
    session.http.cookies.clear()
    assert session.ask().status_code == 401
