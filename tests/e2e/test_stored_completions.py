"""Stored completions when the server is killed, and when one of them is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.forked_program import run_command
from tests.server import CAPITAL, environment
from tests.storage.sqlite_files import run

PATHS = {"chat": "/v1/chat/completions", "text": "/v1/completions"}


def test_stored_completions_survive_a_restart(start_server: StartServer, tmp_path: Path) -> None:
    database = f"sqlite:{tmp_path / 'kept.sqlite3'}"
    first = start_server("--store", database)
    answer = first.chat(store=True, max_tokens=3).json()
    first.kill()

    second = start_server("--store", database)

    kept = second.http.get(f"{PATHS['chat']}/{answer['id']}").json()
    assert kept["choices"] == answer["choices"]


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_a_damaged_completion_is_said_and_costs_no_other(
    start_server: StartServer, tmp_path: Path, path: str
) -> None:
    database = tmp_path / "kept.sqlite3"
    server = start_server("--store", f"sqlite:{database}")
    fields = {"messages": CAPITAL} if path == PATHS["chat"] else {"prompt": "Hello"}
    first, damaged, last = (
        server.post(path, {**fields, "store": True, "max_tokens": 2}).json()["id"] for _ in range(3)
    )
    run(database, f"UPDATE completions SET body = x'1f8b' WHERE id = '{damaged}'")
    url = f"{path}/{damaged}"

    page = server.http.get(path, params={"limit": 2}).json()
    answers = [
        server.http.get(url),
        server.http.get(f"{url}/messages"),
        server.post(url, {"metadata": {"a": "b"}}),
    ]

    assert [completion["id"] for completion in page["data"]] == [first, last]
    assert (page["last_id"], page["has_more"], page["damaged"]) == (last, False, [damaged])
    assert "damaged" not in server.http.get(path, params={"after": damaged}).json()
    for answer in answers:
        error = answer.json()["error"]
        assert (answer.status_code, error["type"]) == (500, "server_error")
        assert (error["code"], error["param"]) == ("completion_damaged", None)
        assert damaged in error["message"]
    assert f"completion {damaged} in {database} is damaged: the body can't be" in server.log_text()
    listed, shown, deleted = (
        run_command(
            *("completions", *arguments, "--url", server.url), environ=environment(), said="y\n"
        )
        for arguments in (
            ("list", "--json", "--kind", "text" if "prompt" in fields else "chat"),
            ("show", damaged),
            ("delete", damaged),
        )
    )
    assert f"skipped 1 damaged completion: {damaged}" in listed.stderr
    assert shown.returncode == 1
    assert "is damaged" in shown.stderr
    question = f"Delete 1 stored completion (1 damaged completion: {damaged}) for good? [y/N] "
    assert deleted.stdout == f"{question}deleted {damaged}\n"
    assert server.http.get(url).status_code == 404
    assert "damaged" not in server.http.get(path).json()


def test_a_store_that_fails_does_not_cost_the_answer(
    start_server: StartServer, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a directory")
    server = start_server("--store", f"sqlite:{tmp_path / 'file' / 'kept.sqlite3'}")

    body = server.chat(store=True, temperature=0)
    stream = server.chat(store=True, stream=True, temperature=0)

    assert "can't be stored" in server.log_text()
    assert body.headers["x-stored"] == "false"
    assert "Paris" in body.text
    assert ": x-stored: false\n\n" in stream.text
    assert stream.text.endswith("data: [DONE]\n\n")
    assert server.metric('stored_completions_total{stored="false"}') == 2
    assert "is not stored" in server.log_text()
    listed = server.http.get(PATHS["chat"])
    assert listed.status_code == 503
    assert listed.json()["error"]["code"] == "store_unavailable"
