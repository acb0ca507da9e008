"""``pilotlight completions`` with a store in which some are damaged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.storage.sqlite.store import SQLiteStore
from tests.cli.completions import FRANCE, HALF, OSLO, Run, ids
from tests.storage.sqlite_files import run as run_sql


@pytest.fixture
def damaged(store: SQLiteStore, tmp_path: Path) -> str:
    """The id of a completion that is damaged."""
    run_sql(tmp_path / "completions.sqlite3", f"UPDATE completions SET body = '' {WHERE_OSLO}")
    return OSLO.id


WHERE_OSLO = f"WHERE id = '{OSLO.id}'"


@pytest.mark.parametrize("arguments", [["--json"], ["--json", "--order", "asc"]])
def test_a_list_passes_over_what_is_damaged(run: Run, damaged: str, arguments: list[str]) -> None:
    done = run("list", *arguments)

    assert sorted(ids(done)) == sorted([HALF.id, FRANCE.id])
    assert f"skipped 1 damaged completion: {damaged}\n" in done.stderr
    assert damaged not in run("list").stdout


def test_an_export_counts_and_names_what_is_damaged(
    run: Run, damaged: str, store: SQLiteStore
) -> None:
    done = run("export", "--output", "lines.jsonl", "--format", "raw")

    assert done.status == 0
    assert done.stderr.splitlines()[-1] == (
        f"2 lines to lines.jsonl, from 2 completions; skipped 1 damaged completion: {damaged}"
    )
    assert [json.loads(line)["id"] for line in Path("lines.jsonl").read_text().splitlines()] == [
        FRANCE.id,
        HALF.id,
    ]


def test_an_export_of_damaged_ones_only_says_so(run: Run, damaged: str) -> None:
    done = run("export", "--model", "torch", "--output", "-")

    assert (done.status, done.stdout) == (0, "")
    assert f"skipped 1 damaged completion: {damaged}" in done.stderr


@pytest.mark.parametrize(
    "changes", [{"request": {}}, {"response": {}}, {"response": {"choices": 5}}]
)
def test_an_export_names_what_makes_no_sense(
    run: Run, store: SQLiteStore, changes: dict[str, Any]
) -> None:
    for completion in (FRANCE, replace(FRANCE, id=HALF.id, **changes)):
        store.put(replace(completion, tenant="odd"))

    done = run("export", "--tenant", "odd", "--output", "-")

    assert len(done.stdout.splitlines()) == 1
    assert f"from 1 completion; skipped 1 damaged completion: {HALF.id}" in done.stderr
    assert sorted(ids(run("list", "--tenant", "odd", "--json"))) == [FRANCE.id, HALF.id]


def test_what_is_damaged_is_not_shown(run: Run, damaged: str) -> None:
    done = run("show", damaged)

    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.startswith(f"pilotlight: completion {damaged} in ")
    assert "is damaged: the body can't be read: " in done.stderr


@pytest.mark.parametrize("arguments", [["--yes"], []])
def test_what_is_damaged_can_be_deleted(run: Run, damaged: str, arguments: list[str]) -> None:
    done = run("delete", *arguments, damaged, FRANCE.id, typed="y\n")

    assert done.status == 0
    assert f"deleted {damaged}\ndeleted {FRANCE.id}\n" in done.stdout
    if not arguments:
        assert (
            f"Delete 2 stored completions (1 damaged completion: {damaged}) for good?"
            in done.stdout
        )
    assert ids(run("list", "--json")) == [HALF.id]
