"""The administration API, as the `openai` package's own client uses it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from openai import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    OpenAI,
    PermissionDeniedError,
)
from openai.types.admin.organization import Project

from shared.accounts.accounts import Accounts, open_accounts
from shared.accounts.audit_log import Actor
from shared.accounts.key_format import new_key
from tests.app_server import AppServer
from tests.conftest import API_KEY
from tests.server import CAPITAL
from tests.storage.dynamodb.aws import Aws
from tests.storage.dynamodb.moto_server import ENVIRONMENT


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server's store is."""
    return tmp_path_factory.mktemp("accounts")


@pytest.fixture(scope="module")
def accounts(directory: Path) -> Iterator[Accounts]:
    """The accounts in the store itself."""
    with closing(open_accounts("sqlite", directory)) as accounts:
        accounts.initialize()
        yield accounts


@pytest.fixture(scope="module")
def server(log_directory: Path, directory: Path, accounts: Accounts) -> Iterator[AppServer]:
    """A server with accounts, and a key from its settings besides."""
    options = ("--accounts", "true", "--data-dir", str(directory), "--api-key", API_KEY)
    server = AppServer(log_directory / "accounts.log", *options, "--alias", "small,s")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def admin_key(accounts: Accounts) -> str:
    """The first admin key, which the terminal makes."""
    return accounts.keys.issue(Actor(), "operator", None)[1]


@pytest.fixture(scope="module")
def admin(server: AppServer, admin_key: str) -> OpenAI:
    """The client of an administrator."""
    return server.openai(admin_api_key=admin_key)


@pytest.fixture
def project(admin: OpenAI) -> Project:
    """A project of the test's own."""
    return admin.admin.organization.projects.create(name="shop")


def _complete(server: AppServer, key: str, **fields: Any) -> Any:
    client = server.openai(api_key=key)
    fields = {"messages": CAPITAL, "max_tokens": 1, "model": "small", **fields}
    return client.chat.completions.create(**fields)


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.slow
def test_a_projects_key_completes(server: AppServer, admin: OpenAI, project: Project) -> None:
    accounts = admin.admin.organization.projects.service_accounts
    made = accounts.create(project.id, name="web")
    assert made.api_key is not None
    assert made.role == "member"
    assert _complete(server, made.api_key.value).choices
    listed = list(accounts.list(project.id))
    assert [(each.id, each.name) for each in listed] == [(made.id, "web")]
    assert accounts.retrieve(made.id, project_id=project.id) == listed[0]
    changed = accounts.update(made.id, project_id=project.id, name="site", role="owner")
    assert (changed.name, changed.role) == ("site", "owner")


def test_projects_are_listed_renamed_and_archived(admin: OpenAI) -> None:
    projects = admin.admin.organization.projects
    made = [projects.create(name=f"p{n}") for n in range(3)]
    assert projects.retrieve(made[0].id) == made[0]
    assert made[0].status == "active"
    assert projects.update(made[0].id, name="first").name == "first"
    archived = projects.archive(made[1].id)
    assert (archived.status, archived.archived_at is not None) == ("archived", True)
    ids = [each.id for each in projects.list(limit=2)]  # page by page
    assert made[0].id in ids
    assert made[1].id not in ids
    assert made[1].id in [each.id for each in projects.list(include_archived=True)]
    with pytest.raises(BadRequestError, match="is archived"):
        projects.update(made[1].id, name="x")


def test_keys_rotate_and_what_was_stored_stays(
    server: AppServer, admin: OpenAI, project: Project
) -> None:
    projects = admin.admin.organization.projects
    made = projects.service_accounts.create(project.id, name="web", expires_in_seconds=3600)
    assert made.api_key is not None
    stored = _complete(server, made.api_key.value, store=True)
    second = projects.service_accounts.api_keys.create(made.id, project_id=project.id, name="new")
    deleted = projects.api_keys.delete(made.api_key.id, project_id=project.id)
    assert deleted.deleted
    client = server.openai(api_key=second.value)
    assert [each.id for each in client.chat.completions.list()] == [stored.id]
    (left,) = projects.api_keys.list(project.id)
    assert (left.id, left.name, left.redacted_value[-4:]) == (second.id, "new", second.value[-4:])
    assert left.owner.service_account is not None
    assert left.owner.service_account.id == made.id
    assert left.last_used_at is not None
    ends = projects.api_keys.update(second.id, project_id=project.id, expires_in_seconds=60)
    assert ends.expires_at is not None
    assert projects.api_keys.retrieve(second.id, project_id=project.id) == ends


def test_keys_of_a_deleted_service_account_are_inactive(admin: OpenAI, project: Project) -> None:
    projects = admin.admin.organization.projects
    gone, there = (projects.service_accounts.create(project.id, name=name) for name in "ab")
    assert projects.service_accounts.delete(gone.id, project_id=project.id).deleted

    def ids(access: Any) -> list[str]:
        page = projects.api_keys.list(project.id, owner_project_access=access, limit=1)
        return [key.id for key in page]

    assert gone.api_key is not None
    assert there.api_key is not None
    assert ids("inactive") == [gone.api_key.id]
    assert ids("active") == [there.api_key.id]
    assert ids("any") == [gone.api_key.id, there.api_key.id]


def test_a_service_account_may_have_no_key(admin: OpenAI, project: Project) -> None:
    projects = admin.admin.organization.projects
    made = projects.service_accounts.create(
        project.id, name="later", create_service_account_only=True
    )
    assert (made.api_key, made.role) == (None, "none")
    assert list(projects.api_keys.list(project.id)) == []
    with pytest.raises(BadRequestError, match="no key to expire"):
        projects.service_accounts.create(
            project.id, name="x", create_service_account_only=True, expires_in_seconds=1
        )


def test_projects_are_sealed_off_from_each_other(server: AppServer, admin: OpenAI) -> None:
    keys = []
    for name in ("one", "two"):
        made = admin.admin.organization.projects.create(name=name)
        account = admin.admin.organization.projects.service_accounts.create(made.id, name="web")
        assert account.api_key is not None
        keys.append(account.api_key.value)
    stored = _complete(server, keys[0], store=True)
    other = server.openai(api_key=keys[1])
    assert list(other.chat.completions.list()) == []
    with pytest.raises(NotFoundError):
        other.chat.completions.retrieve(stored.id)


def test_admin_keys_administer_and_nothing_else(
    server: AppServer, admin: OpenAI, admin_key: str, project: Project
) -> None:
    keys = admin.admin.organization.admin_api_keys
    made = keys.create(name="billing", expires_in_seconds=60)
    second = server.openai(admin_api_key=made.value)
    assert second.admin.organization.projects.retrieve(project.id) == project
    assert keys.retrieve(made.id).redacted_value[-4:] == made.value[-4:]
    listed = [each.id for each in keys.list(order="desc", limit=1)]
    assert listed[0] == made.id
    assert sorted(listed) == sorted(each.id for each in keys.list())
    with pytest.raises(PermissionDeniedError) as refused:
        _complete(server, admin_key)
    assert refused.value.code == "insufficient_permissions"
    assert server.http.get("/v1/models", headers=_bearer(admin_key)).is_success
    assert keys.delete(made.id).deleted
    assert made.id not in [each.id for each in keys.list()]


def test_other_keys_do_not_administer(server: AppServer, admin: OpenAI, project: Project) -> None:
    made = admin.admin.organization.projects.service_accounts.create(project.id, name="web")
    assert made.api_key is not None
    for key in (made.api_key.value, API_KEY):
        client = server.openai(admin_api_key=key)
        with pytest.raises(PermissionDeniedError, match="keys create --admin"):
            client.admin.organization.projects.list()


def test_metrics_of_all_projects_are_for_no_projects_key(
    server: AppServer, admin: OpenAI, admin_key: str, project: Project
) -> None:
    made = admin.admin.organization.projects.service_accounts.create(project.id, name="web")
    assert made.api_key is not None
    refused = server.http.get("/metrics", headers=_bearer(made.api_key.value))
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "insufficient_permissions"
    for key in (admin_key, API_KEY):
        assert server.http.get("/metrics", headers=_bearer(key)).is_success


@pytest.mark.parametrize(
    ("method", "path", "body", "ignored"),
    [
        (
            "POST",
            "/rate_limits/rl-small",
            {"max_request_per_1_minute": 1},
            "max_request_per_1_minute",
        ),
        ("GET", "/rate_limits?before=x", None, "before"),
        ("GET", "/spend_alerts?before=x&limit=1", None, "before"),
        ("POST", "", {"name": "shop", "nickname": "s", "colour": "red"}, "colour, nickname"),
    ],
)
def test_fields_that_nobody_knows_are_named(
    server: AppServer,
    admin_key: str,
    project: Project,
    method: str,
    path: str,
    body: dict[str, Any] | None,
    ignored: str,
) -> None:
    url = f"/v1/organization/projects/{project.id}{path}"
    response = server.http.request(method, url, json=body, headers=_bearer(admin_key))
    assert response.is_success
    assert response.headers["x-ignored-params"] == ignored


def test_keys_from_settings_go_on_working(server: AppServer) -> None:
    assert _complete(server, API_KEY).choices
    own = server.http.get("/v1/key", headers=_bearer(API_KEY)).json()
    name = f"key-{hashlib.sha256(API_KEY.encode()).hexdigest()[:16]}"
    assert (own["id"], own["project"], own["is_admin"]) == (name, None, False)


def test_a_key_that_is_nobodys_is_refused(server: AppServer, admin_key: str) -> None:
    for key in ("", "sk-nonsense", admin_key[:-1] + ("a" if admin_key[-1] != "a" else "b")):
        with pytest.raises(AuthenticationError):
            _complete(server, key or "none")


def test_model_permissions_hold(server: AppServer, admin: OpenAI) -> None:
    projects = admin.admin.organization.projects
    permissions = projects.model_permissions

    def attempt(mode: Any, models: list[str]) -> str:
        """What comes of a completion where just these are permitted or denied."""
        made = projects.create(name="narrow")
        before = permissions.retrieve(made.id)
        assert (before.mode, before.api_model_ids) == ("deny_list", [])
        changed = permissions.update(made.id, mode=mode, model_ids=models)
        assert permissions.retrieve(made.id) == changed
        account = projects.service_accounts.create(made.id, name="web")
        assert account.api_key is not None
        key = account.api_key.value
        listed = [model.id for model in server.openai(api_key=key).models.list()]
        response = server.post(
            "/v1/chat/completions", {"messages": CAPITAL, "max_tokens": 1}, headers=_bearer(key)
        )
        if response.is_success:
            assert listed == ["small"]
            return "permitted"
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (403, "model_not_permitted")
        assert listed == []
        return "denied"

    assert attempt("allow_list", ["s"]) == "permitted"
    assert attempt("allow_list", ["large"]) == "denied"
    assert attempt("allow_list", []) == "denied"
    assert attempt("deny_list", ["s"]) == "denied"
    assert attempt("deny_list", ["large"]) == "permitted"


def test_model_permissions_are_deleted(admin: OpenAI, project: Project) -> None:
    permissions = admin.admin.organization.projects.model_permissions
    permissions.update(project.id, mode="allow_list", model_ids=["x"])
    assert permissions.delete(project.id).deleted
    assert permissions.retrieve(project.id).mode == "deny_list"


def test_a_key_tells_its_holder(server: AppServer, admin: OpenAI, project: Project) -> None:
    made = admin.admin.organization.projects.service_accounts.create(
        project.id, name="web", expires_in_seconds=60
    )
    assert made.api_key is not None
    own = server.http.get("/v1/key", headers=_bearer(made.api_key.value)).json()
    assert own["project"] == {"id": project.id, "name": "shop"}
    assert (own["id"], own["expires_at"]) == (made.api_key.id, made.api_key.expires_at)
    assert own["model_permissions"]["mode"] == "deny_list"


@pytest.mark.slow
def test_the_audit_log_has_each_change(admin: OpenAI, project: Project) -> None:
    logs = admin.admin.organization.audit_logs
    account = admin.admin.organization.projects.service_accounts.create(project.id, name="web")
    assert account.api_key is not None
    found = list(logs.list(project_ids=[project.id], limit=1))
    assert [event.type for event in found] == [
        "api_key.created",
        "service_account.created",
        "project.created",
    ]
    assert found[0].api_key_created is not None
    assert found[0].api_key_created.id == account.api_key.id
    assert found[0].project is not None
    assert found[0].project.name == "shop"
    assert found[0].actor is not None
    assert found[0].actor.api_key is not None
    (operator,) = list(admin.admin.organization.admin_api_keys.list(order="asc", limit=1))[:1]
    assert found[0].actor.api_key.id == operator.id
    only = logs.list(
        event_types=["project.created"], resource_ids=[project.id], effective_at={"gte": 1}
    )
    assert [event.id for event in only] == [found[-1].id]
    none = logs.list(project_ids=[project.id], effective_at={"lt": project.created_at})
    assert list(none) == []


@pytest.mark.parametrize(
    ("call", "param"),
    [
        (lambda o: o.projects.create(name=""), "name"),
        (lambda o: o.projects.create(name="x" * 257), "name"),
        (lambda o: o.projects.create(name=None), "name"),
        (lambda o: o.projects.create(name="x", geography="EU"), "geography"),
        (lambda o: o.projects.create(name="x", extra_body={"residency": {}}), "residency"),
        (lambda o: o.projects.list(limit=0), "limit"),
        (lambda o: o.projects.list(limit=101), "limit"),
        (lambda o: o.admin_api_keys.create(name="x", expires_in_seconds=0), "expires_in_seconds"),
        (lambda o: o.admin_api_keys.create(name="x", expires_in_seconds=1e400), None),
        (lambda o: o.audit_logs.list(effective_at={"gt": "x"}), "effective_at[gt]"),
    ],
)
def test_bad_input_is_named(
    admin: OpenAI, call: Callable[[Any], object], param: str | None
) -> None:
    with pytest.raises((BadRequestError, ValueError)) as refused:
        call(admin.admin.organization)
    if param is not None:
        assert isinstance(refused.value, APIStatusError)
        assert refused.value.param == param


@pytest.mark.parametrize(
    "call",
    [
        lambda o, p: o.projects.retrieve("proj_0"),
        lambda o, p: o.projects.archive("proj_0"),
        lambda o, p: o.projects.service_accounts.list("proj_0"),
        lambda o, p: o.projects.service_accounts.create("proj_0", name="x"),
        lambda o, p: o.projects.service_accounts.retrieve("x", project_id=p),
        lambda o, p: o.projects.api_keys.list("proj_0"),
        lambda o, p: o.projects.api_keys.retrieve("key_0", project_id=p),
        lambda o, p: o.projects.api_keys.delete("é" * 2000, project_id=p),
        lambda o, p: o.admin_api_keys.retrieve("key_0"),
        lambda o, p: o.projects.model_permissions.retrieve("proj_0"),
        lambda o, p: o.users.list(),
        lambda o, p: o.projects.users.list(p),
        lambda o, p: o.invites.list(),
        lambda o, p: o.certificates.list(),
    ],
)
def test_what_is_not_there_is_404(
    admin: OpenAI, project: Project, call: Callable[[Any, str], object]
) -> None:
    with pytest.raises(NotFoundError) as missing:
        call(admin.admin.organization, project.id)
    assert missing.value.body is not None


def test_without_accounts_there_is_no_administration(keyed_server: AppServer) -> None:
    client = keyed_server.openai(admin_api_key=API_KEY)
    with pytest.raises(APIStatusError) as refused:
        client.admin.organization.projects.list()
    assert refused.value.status_code in (403, 404)


@pytest.mark.slow
def test_a_store_that_fails_is_no_wrong_key(
    start_server: Callable[..., AppServer], tmp_path: Path
) -> None:
    (tmp_path / "accounts.sqlite3").write_text("something else" * 100)
    server = start_server("--accounts", "true", "--data-dir", str(tmp_path), "--api-key", API_KEY)
    with pytest.raises(InternalServerError) as failed:
        _complete(server, new_key())
    assert (failed.value.status_code, failed.value.code) == (503, "accounts_unavailable")
    assert failed.value.response.headers["retry-after"]
    assert "accounts.sqlite3" in server.log_text()
    assert _complete(server, API_KEY, model="pilotlight-builtin").choices


def test_accounts_in_dynamodb(start_server: Callable[..., AppServer], shared_aws: Aws) -> None:
    environ = {**ENVIRONMENT, "AWS_ENDPOINT_URL": shared_aws.url}
    place = f"dynamodb:{shared_aws.table},{shared_aws.bucket}"
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environ.items():
            patched.setenv(name, value)
        with closing(open_accounts(place)) as accounts:
            _, secret = accounts.keys.issue(Actor(), "operator", None)
        server = start_server("--accounts", "true", "--store", place, "--alias", "small")
        projects = server.openai(admin_api_key=secret).admin.organization.projects
        project = projects.create(name="shop")
        made = projects.service_accounts.create(project.id, name="web")
        assert made.api_key is not None
        stored = _complete(server, made.api_key.value, store=True)
        client = server.openai(api_key=made.api_key.value)
        assert [each.id for each in client.chat.completions.list()] == [stored.id]
        assert projects.api_keys.delete(made.api_key.id, project_id=project.id).deleted
