"""What an operation waits for in SQLite, in all: never longer than its budget."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shared.storage.base import StoreError
from shared.storage.sqlite import file as sqlite_file
from shared.storage.sqlite.store import SQLiteStore
from tests.storage.completions import sample
from tests.storage.listing import listed
from tests.storage.sqlite_files import TENANT, fill

BUDGET = 8.0


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """See `time.monotonic`."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """See `time.sleep`."""
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of files, and of the connections that are opened from now on."""
    clock = Clock()

    class Waiting(sqlite3.Connection):
        """Waits for locks by that clock, as long as it may."""

        patience = 0.0

        def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
            if statement.startswith("PRAGMA busy_timeout = "):
                self.patience = int(statement.rpartition(" ")[2]) / 1000
                return super().execute("PRAGMA busy_timeout = 0")
            try:
                return super().execute(statement, *arguments)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                    clock.now += self.patience
                raise

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite_file, "time", clock)
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **k, factory=Waiting))
    return clock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a completion."""
    path = tmp_path / "completions.sqlite3"
    fill(path)
    return path


OPERATIONS: dict[str, Callable[[SQLiteStore], object]] = {
    "put": lambda store: store.put(sample(1, tenant=TENANT)),
    "update": lambda store: store.update_metadata(TENANT, "chat", sample(tenant=TENANT).id, {}),
    "delete": lambda store: store.delete(TENANT, "chat", sample(tenant=TENANT).id),
    "sweep": lambda store: store.sweep(),
    "get": lambda store: store.get(TENANT, "chat", sample(tenant=TENANT).id),
    "list": lambda store: listed(store, TENANT),
    "initialize": lambda store: store.initialize(),
}


@pytest.fixture
def locked(path: Path) -> Iterator[None]:
    """Another process has all of the file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        yield


@pytest.mark.usefixtures("locked")
@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("waited", [0.0, 3.0, BUDGET])
def test_an_operation_waits_for_all_locks_together(
    name: str, waited: float, path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock

    def slow(descriptor: int, operation: int) -> None:
        if clock.now < waited:
            raise BlockingIOError
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", slow)
    with (
        closing(SQLiteStore(path, timeout=BUDGET)) as store,
        pytest.raises(StoreError, match=r"database is locked|take too long"),
    ):
        OPERATIONS[name](store)

    assert clock.now == pytest.approx(BUDGET, abs=0.002)


def test_waiting_for_a_thread_leaves_less_for_other_processes(path: Path, clock: Clock) -> None:
    asked: list[float] = []

    def acquire(timeout: float) -> bool:
        asked.append(timeout)
        clock.now += 5.0
        return True

    with (
        closing(SQLiteStore(path, timeout=BUDGET)) as store,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        listed(store, TENANT)
        other.execute("BEGIN IMMEDIATE")
        store._file._write_lock = SimpleNamespace(  # type: ignore[assignment]
            acquire=acquire, release=lambda: None
        )

        with pytest.raises(StoreError, match="database is locked"):
            store.put(sample(1, tenant=TENANT))

    assert asked == [BUDGET]
    assert clock.now == pytest.approx(BUDGET, abs=0.002)


def test_a_file_that_another_process_still_opens_is_waited_for(path: Path, clock: Clock) -> None:
    directory = os.open(path.parent, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    with closing(SQLiteStore(path, timeout=BUDGET)) as store:
        with pytest.raises(StoreError, match="take too long to open"):
            store.get(TENANT, "chat", "chatcmpl-0")
        assert clock.now == pytest.approx(BUDGET, abs=0.002)
        os.close(directory)

        assert store.get(TENANT, "chat", "chatcmpl-0") is None
