"""``pilotlight projects`` and ``pilotlight keys``, on the store itself and on a server."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from functions.cli.__main__ import main
from shared.accounts.key_format import is_key
from tests.conftest import StartServer

Run = Callable[..., "Done"]


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """What it printed."""
        return json.loads(self.stdout)


@pytest.fixture
def run(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process, on a store of the test's own unless there is a ``--url``."""

    def run(*arguments: str, answer: str = "") -> Done:
        place = [] if "--url" in arguments else ["--data-dir", str(tmp_path)]
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        capfd.readouterr()
        try:
            status = main([*arguments, *place])
        except SystemExit as ended:
            status = int(ended.code or 0)
        printed = capfd.readouterr()
        return Done(status, printed.out, printed.err)

    return run


def _project(run: Run, name: str = "shop") -> str:
    created = run("projects", "create", name, "--json")
    assert created.status == 0, created.stderr
    return str(created.json["id"])


def test_a_key_is_printed_once_with_what_to_do_with_it(run: Run) -> None:
    _project(run)
    created = run("keys", "create", "--project", "shop", "web site", "--expires", "90d")
    assert created.status == 0
    key = created.stdout.strip()
    assert is_key(key.encode())
    assert hashlib.sha256(key.encode()).hexdigest() in created.stderr
    assert f'-H "Authorization: Bearer {key}"' in created.stderr
    assert "curl http://127.0.0.1:8000/v1/chat/completions" in created.stderr
    listed = run("keys", "list")
    assert key[-4:] in listed.stdout
    assert key not in listed.stdout
    assert "web site" in listed.stdout


def test_an_admin_key_has_no_project(run: Run) -> None:
    created = run("keys", "create", "--admin", "operator", "--json")
    assert created.json["value"].startswith("sk-pilot-admin-")
    assert [key["id"] for key in run("keys", "list", "--admin", "--json").json] == [
        created.json["id"]
    ]
    assert "(admin)" in run("keys", "list").stdout


def test_keys_are_revoked_wherever_they_are(run: Run) -> None:
    _project(run)
    one = run("keys", "create", "--project", "shop", "one", "--json").json["id"]
    two = run("keys", "create", "--admin", "two", "--json").json["id"]
    assert len(run("keys", "list", "--json").json) == 2
    revoked = run("keys", "revoke", one, two)
    assert revoked.stdout.splitlines() == [
        f"revoked {one}: it stops within 30 s",
        f"revoked {two}: it stops within 30 s",
    ]
    assert run("keys", "list", "--json").json == []
    missing = run("keys", "revoke", one)
    assert (missing.status, missing.stderr) == (1, f"pilotlight: there is no key '{one}'\n")


def test_projects_are_renamed_and_archived(run: Run) -> None:
    project = _project(run)
    assert (
        run("projects", "rename", "shop", "store").stdout == f"project {project} is 'store' now\n"
    )
    kept = run("projects", "archive", "store", answer="n\n")
    assert (kept.status, "nothing was archived" in kept.stderr) == (1, True)
    assert run("projects", "archive", project, answer="y\n").status == 0
    assert run("projects", "list", "--json").json == []
    assert [p["id"] for p in run("projects", "list", "--archived", "--json").json] == [project]


def test_models_are_allowed_and_denied(run: Run) -> None:
    _project(run)
    assert run("projects", "models", "shop").stdout == "may use all models\n"
    assert run("projects", "models", "shop", "--allow", "a,b").stdout == "may use: a, b\n"
    assert run("projects", "models", "shop", "--deny", "a").stdout == "may use all models but: a\n"
    assert run("projects", "models", "shop", "--any").stdout == "may use all models\n"


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["keys", "create", "--project", "x", "a"], 1, "there is no project 'x'"),
        (["keys", "create", "a"], 2, "one of the arguments --project --admin is required"),
        (["keys", "create", "--admin", "a", "--expires", "soon"], 2, "'soon' is no duration"),
        (["keys", "create", "--admin", "a", "--expires", "0d"], 2, "'0d' is no duration"),
        (["keys", "create", "--admin", ""], 1, "Invalid 'name'"),
        (["projects", "create", "a", "--store", "none"], 2, "accounts need a store"),
        (["projects", "list", "--url", "http://127.0.0.1:9"], 1, "can't reach"),
        (["projects", "list", "--url", "http://x", "--store", "sqlite"], 2, "no --store"),
        (["projects", "list", "--url", "http://a:b"], 2, "is no URL"),
    ],
)
def test_what_is_wrong_is_said(run: Run, arguments: list[str], status: int, text: str) -> None:
    done = run(*arguments)
    assert done.status == status
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_several_projects_of_a_name_are_told_apart_by_id(run: Run) -> None:
    first, second = _project(run), _project(run)
    done = run("keys", "create", "--project", "shop", "a")
    assert done.stderr == f"pilotlight: several projects are called 'shop': {first}, {second}\n"
    assert run("keys", "create", "--project", second, "a").status == 0


def test_without_any_the_next_command_is_named(run: Run) -> None:
    assert "pilotlight projects create NAME" in run("projects", "list").stderr
    assert "pilotlight keys create" in run("keys", "list").stderr


def test_names_obey_no_terminal(run: Run) -> None:
    _project(run, "a\x1b[31mb")
    assert "a\\x1b[31mb" in run("projects", "list").stdout


def test_a_servers_accounts_from_elsewhere(
    run: Run, start_server: StartServer, tmp_path: Path
) -> None:
    admin = run("keys", "create", "--admin", "operator").stdout.strip()
    server = start_server("--accounts", "true", "--data-dir", str(tmp_path))
    at = ("--url", server.url, "--api-key", admin)
    created = run("projects", "create", "shop", *at)
    assert created.status == 0, created.stderr
    key = run("keys", "create", "--project", "shop", "web", *at)
    assert f"curl {server.url}/v1/chat/completions" in key.stderr
    client = server.openai(api_key=key.stdout.strip())
    (model,) = client.models.list()
    answer = client.chat.completions.create(
        model=model.id, max_tokens=1, messages=[{"role": "user", "content": "Hi"}]
    )
    assert answer.choices
    refused = run("projects", "list", "--url", server.url, "--api-key", key.stdout.strip())
    assert (refused.status, "needs an admin key" in refused.stderr) == (1, True)
