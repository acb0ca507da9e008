"""A store with a few completions, and the command line on it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.cli.__main__ import main
from shared.storage.sqlite.store import SQLiteStore
from tests.cli.completions import FRANCE, HALF, OSLO, SOMEBODYS, TEXT, Done, Run


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    """A store with completions of three days in January 2025, and of another tenant."""
    store = SQLiteStore(tmp_path / "completions.sqlite3")
    for completion in (FRANCE, OSLO, HALF, SOMEBODYS, TEXT):
        store.put(completion)
    yield store
    store.close()


@pytest.fixture
def run(
    store: SQLiteStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs ``pilotlight completions ARGUMENTS``, with ``typed`` on standard input."""
    monkeypatch.setenv("PILOTLIGHT_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, typed: str = "") -> Done:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        try:
            status = main(["completions", *arguments])
        except SystemExit as ended:
            status = int(str(ended.code))
        captured = capsys.readouterr()
        return Done(status, captured.out, captured.err)

    return run
