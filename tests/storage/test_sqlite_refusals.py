"""SQLite files that are no store, or are one no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.storage.base import StoreError
from shared.storage.sqlite.file import APPLICATION_ID
from shared.storage.sqlite.store import SCHEMA_VERSION, SQLiteStore
from tests.storage.completions import sample
from tests.storage.listing import listed
from tests.storage.sqlite_files import TENANT, fill, run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "completions.sqlite3"


def test_a_file_of_a_newer_release_is_refused(path: Path) -> None:
    fill(path)
    run(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = path.read_bytes()
    store = SQLiteStore(path)

    with pytest.raises(StoreError, match=r"completions\.sqlite3 was written by a newer release"):
        store.initialize()

    assert path.read_bytes() == before


def test_the_database_of_another_program_is_refused(path: Path) -> None:
    path.parent.mkdir()
    run(path, "CREATE TABLE recipes (name TEXT)")
    before = path.read_bytes()

    with pytest.raises(StoreError, match=r"completions\.sqlite3 is the database of another"):
        SQLiteStore(path).put(sample(tenant=TENANT))

    assert path.read_bytes() == before


def test_files_are_marked_as_ours(path: Path) -> None:
    fill(path)

    assert run(path, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert run(path, "PRAGMA user_version") == [(SCHEMA_VERSION,)]


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.parent.mkdir()
    path.touch()

    fill(path)

    assert run(path, "SELECT count(*) FROM completions") == [(1,)]


def test_a_file_that_is_no_database_is_named(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"Dear diary, " * 1000)

    with pytest.raises(StoreError, match=r"completions\.sqlite3: file is not a database"):
        SQLiteStore(path).put(sample(tenant=TENANT))

    assert path.read_bytes() == b"Dear diary, " * 1000


def test_a_file_with_damaged_pages_is_named(path: Path) -> None:
    fill(path, 50)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 4096 * 8)
    store = SQLiteStore(path)

    with pytest.raises(StoreError, match=r"completions\.sqlite3: database disk image is malformed"):
        listed(store, TENANT)
    with pytest.raises(StoreError, match=r"completions\.sqlite3: database disk image is malformed"):
        store.put(sample(60, tenant=TENANT))
    store.close()


@pytest.mark.parametrize("place", ["directory", "file/completions.sqlite3"])
def test_a_place_where_no_file_can_be_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()

    with pytest.raises(StoreError, match=f"^{tmp_path / place}: "):
        SQLiteStore(tmp_path / place).initialize()
