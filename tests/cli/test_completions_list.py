"""``pilotlight completions list``, on a store."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.storage.sqlite.store import SQLiteStore
from shared.storage.types import new_id
from tests.cli.completions import FRANCE, HALF, OSLO, SOMEBODYS, TEXT, Run, ids
from tests.server import command, environment
from tests.storage.conversations import chat, user


def test_the_list_shows_the_newest_first_and_no_text(run: Run) -> None:
    done = run("list")

    assert done.status == 0
    heading, *rows = [line.split() for line in done.stdout.splitlines()]
    assert heading == ["created", "(UTC)", "id", "model", "metadata", "tokens"]
    assert rows == [
        ["2025-01-03", "00:00:00", HALF.id, "lamp", "project=faq", "45"],
        ["2025-01-02", "00:00:00", OSLO.id, "lamp", "project=faq", "reviewed=yes", "45"],
        ["2025-01-01", "00:00:00", FRANCE.id, "lamp", "45"],
    ]


def test_texts_are_shown_if_asked_for(run: Run) -> None:
    done = run("list", "--text")

    assert "What is the capital of France?" in done.stdout
    assert "Weather in Oslo?" in done.stdout
    assert "18 degrees." in done.stdout


def test_a_long_text_is_shown_by_its_beginning(run: Run, store: SQLiteStore) -> None:
    store.put(replace(chat([user("word " * 50)], "Yes."), tenant="long"))

    done = run("list", "--text", "--tenant", "long")

    assert f"{'word ' * 11}word…" in done.stdout


def test_json_lines_are_what_the_api_shows(run: Run) -> None:
    done = run("list", "--json", "--limit", "1")

    (shown,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert shown["id"] == HALF.id
    assert shown["metadata"] == {"project": "faq"}
    assert shown["input_user"] == "ada"
    assert shown["incomplete"] is True


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], [HALF, OSLO, FRANCE]),
        (["--order", "asc"], [FRANCE, OSLO, HALF]),
        (["--order", "asc", "--limit", "2"], [FRANCE, OSLO]),
        (["--model", "torch"], [OSLO]),
        (["--metadata", "project=faq"], [HALF, OSLO]),
        (["--metadata", "project=faq", "--metadata", "reviewed=yes"], [OSLO]),
        (["--metadata", "project=a=b"], []),
        (["--since", "2025-01-02"], [HALF, OSLO]),
        (["--since", "2025-01-02T01:00:00+01:00"], [HALF, OSLO]),
        (["--since", "2025-01-02T01:00:00"], [HALF]),
        (["--until", "2025-01-02"], [FRANCE]),
        (["--since", "2025-01-02", "--until", "2025-01-03"], [OSLO]),
        (["--since", "1h"], []),
        (["--until", "4w"], [HALF, OSLO, FRANCE]),
        (["--kind", "text"], [TEXT]),
        (["--tenant", SOMEBODYS.tenant], [SOMEBODYS]),
        (["--tenant", "nobody"], []),
    ],
)
def test_the_list_is_filtered(run: Run, arguments: list[str], expected: list[Any]) -> None:
    assert ids(run("list", "--json", *arguments)) == [completion.id for completion in expected]


@pytest.mark.parametrize(("ago", "is_found"), [("90s", True), ("5s", False), ("1d", True)])
def test_a_duration_is_how_long_ago(
    run: Run, store: SQLiteStore, ago: str, is_found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    minute_ago = time.time_ns() - 60 * 10**9
    with monkeypatch.context() as patched:
        patched.setattr("time.time_ns", lambda: minute_ago)
        completion_id = new_id("chatcmpl")
    response = {**FRANCE.response, "id": completion_id}
    store.put(replace(FRANCE, id=completion_id, tenant="recent", response=response))

    assert ids(run("list", "--json", "--tenant", "recent", "--since", ago)) == (
        [completion_id] if is_found else []
    )


def test_more_than_a_page_is_listed(run: Run, store: SQLiteStore) -> None:
    for number in range(120):
        store.put(replace(chat([user("Hi")], "Hello.", number=number), tenant="many"))

    assert len(ids(run("list", "--json", "--tenant", "many", "--limit", "115"))) == 115
    assert len(ids(run("list", "--json", "--tenant", "many", "--limit", "200"))) == 120


def test_an_empty_list_says_whose_completions_there_are(run: Run) -> None:
    done = run("list", "--tenant", "nobody")

    assert (done.status, done.stdout) == (0, "")
    assert done.stderr == (
        "no stored completions of tenant 'nobody' "
        f"(--tenant NAME looks at another tenant's: 'default', '{SOMEBODYS.tenant}')\n"
    )


def test_an_empty_list_names_a_few_tenants(run: Run, store: SQLiteStore) -> None:
    for number in range(9):
        store.put(replace(FRANCE, tenant=f"a{number}"))

    done = run("list", "--kind", "text", "--tenant", "a0")

    assert "'a1', 'a2', 'a3', 'a4', 'a5', ...)" in done.stderr


def test_an_empty_list_of_the_only_tenant_names_nobody(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "one.sqlite3"
    store = SQLiteStore(path)
    store.put(FRANCE)
    store.close()

    done = run("list", "--kind", "text", "--store", f"sqlite:{path}")

    assert done.stderr == "no stored completions of tenant 'default'\n"


def test_an_empty_export_says_whose_completions_there_are(run: Run) -> None:
    done = run("export", "--tenant", "nobody")

    assert (done.status, done.stdout) == (0, "")
    assert done.stderr == (
        "0 lines, from 0 completions of tenant 'nobody' "
        f"(--tenant NAME looks at another tenant's: 'default', '{SOMEBODYS.tenant}')\n"
    )


@pytest.mark.usefixtures("processes")
def test_a_reader_that_has_seen_enough_ends_the_list(store: SQLiteStore, tmp_path: Path) -> None:
    for number in range(10, 1000):
        store.put(chat([user("Hi")], "Hello." * 20, number=number))
    process = subprocess.Popen(
        command("completions", "list", "--json", "--limit", "1000", "--data-dir", str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stderr is not None

    process.stdout.readline()
    process.stdout.close()

    assert process.stderr.read() == b""
    assert process.wait(60) == 1
    process.stderr.close()
