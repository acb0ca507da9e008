"""``pilotlight completions list|show|delete --url``: what a running server has for a key."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess

import pytest

from tests.conftest import API_KEY
from tests.forked_program import run_command
from tests.server import CAPITAL, ServerProcess, environment

pytestmark = pytest.mark.usefixtures("processes")


def completions(*arguments: str) -> subprocess.CompletedProcess[str]:
    """``pilotlight completions ARGUMENTS``."""
    return run_command("completions", *arguments, environ=environment())


@pytest.fixture
def label() -> str:
    """Metadata that no other test's completions have."""
    return secrets.token_hex(8)


def stored(server: ServerProcess, label: str, key: str = "unused", path: str = "chat") -> str:
    """The id of a new stored completion."""
    fields = {"prompt": "Hello"} if path == "text" else {"messages": CAPITAL, "temperature": 0}
    response = server.post(
        "/v1/completions" if path == "text" else "/v1/chat/completions",
        {**fields, "max_tokens": 16, "store": True, "metadata": {"label": label}},
        headers={"authorization": f"Bearer {key}"},
    )
    assert response.headers["x-stored"] == "true"
    return str(response.json()["id"])


def listed(server: ServerProcess, label: str, *arguments: str) -> list[str]:
    """The ids that ``list --json`` prints."""
    done = completions(
        *("list", "--url", server.url, "--json", "--metadata", f"label={label}", *arguments)
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["id"] for line in done.stdout.splitlines()]


def test_a_servers_completions_are_listed_shown_and_deleted(
    server: ServerProcess, label: str
) -> None:
    first, second = stored(server, label), stored(server, label)

    assert listed(server, label) == [second, first]
    assert listed(server, label, "--order", "asc", "--limit", "1") == [first]
    shown = completions("show", "--url", f"{server.url}/v1/", first).stdout
    assert "user\nWhat is the capital of France?\n" in shown
    assert "answer\nThe capital of France is Paris.\n" in shown

    deleted = completions("delete", "--url", server.url, "--yes", first)

    assert deleted.stdout == f"deleted {first}\n"
    assert listed(server, label) == [second]
    assert completions("show", "--url", server.url, first).returncode == 1


def test_a_table_with_texts_asks_for_messages(server: ServerProcess, label: str) -> None:
    completion_id = stored(server, label)

    done = completions("list", "--url", server.url, "--text", "--metadata", f"label={label}")

    (row,) = done.stdout.splitlines()[1:]
    assert completion_id in row
    assert "What is the capital of France?" in row
    assert "The capital of France is Paris." in row


def test_json_has_the_messages_too(server: ServerProcess, label: str) -> None:
    completion_id = stored(server, label)

    shown = json.loads(completions("show", "--url", server.url, "--json", completion_id).stdout)

    assert shown["id"] == completion_id
    assert [message["content"] for message in shown["messages"]] == [
        "What is the capital of France?"
    ]


def test_text_completions_are_found_too(server: ServerProcess, label: str) -> None:
    completion_id = stored(server, label, path="text")

    assert listed(server, label, "--kind", "text") == [completion_id]
    assert "user\nHello\n" in completions("show", "--url", server.url, completion_id).stdout


@pytest.mark.parametrize(
    ("arguments", "is_found"),
    [
        (["--since", "1h"], True),
        (["--since", "1h", "--order", "asc"], True),
        (["--since", "0s"], False),
        (["--since", "0s", "--order", "asc"], False),
        (["--until", "1h"], False),
        (["--until", "1h", "--order", "asc"], False),
        (["--until", "0s"], True),
        (["--since", "1h", "--until", "0s", "--order", "asc"], True),
        (["--since", "2h", "--until", "1h", "--order", "asc"], False),
    ],
)
def test_times_are_filters_of_a_servers_list_too(
    server: ServerProcess, label: str, arguments: list[str], is_found: bool
) -> None:
    completion_id = stored(server, label)

    assert listed(server, label, *arguments) == ([completion_id] if is_found else [])


def test_a_key_sees_its_own(keyed_server: ServerProcess, label: str) -> None:
    own = stored(keyed_server, label, API_KEY)
    others = stored(keyed_server, label, "another-key")

    assert listed(keyed_server, label, "--api-key", API_KEY) == [own]
    done = completions("show", "--url", keyed_server.url, "--api-key", API_KEY, others)
    assert done.returncode == 1
    assert "no stored completion" in done.stderr


def test_what_the_server_refuses_is_said(keyed_server: ServerProcess) -> None:
    done = completions("list", "--url", keyed_server.url)

    assert done.returncode == 1
    assert done.stderr.startswith("pilotlight: No API key provided.")


def test_a_tenant_is_the_keys(server: ServerProcess) -> None:
    done = completions("list", "--url", server.url, "--tenant", "somebody")

    assert done.returncode == 2
    assert "it is the key that says whose" in done.stderr


def test_a_server_out_of_reach_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    done = completions("list", "--url", f"http://127.0.0.1:{port}")

    assert done.returncode == 1
    assert done.stderr.startswith(f"pilotlight: can't reach http://127.0.0.1:{port}")


def test_something_else_behind_the_address_is_said(server: ServerProcess) -> None:
    done = completions("list", "--url", f"{server.url}/docs")

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
