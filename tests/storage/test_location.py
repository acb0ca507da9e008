"""Where completions can't be stored, as a server says it at its start."""

from __future__ import annotations

from pathlib import Path

from shared.storage.location import location_problem


def test_a_directory_is_no_file_of_a_store(tmp_path: Path) -> None:
    assert location_problem(f"sqlite:{tmp_path}") == f"{tmp_path} is a directory"


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    problem = location_problem(f"sqlite:{tmp_path / 'file' / 'kept.sqlite3'}")
    assert problem == f"{tmp_path / 'file'} is no directory"


def test_what_is_not_there_yet_can_be_made(tmp_path: Path) -> None:
    assert location_problem("sqlite", tmp_path / "new" / "newer") is None
    assert location_problem("none") is None
