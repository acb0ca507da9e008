"""A SQLite file as a store uses it: created privately, checked, shared by threads and processes."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.storage.base import StoreError

APPLICATION_ID = 0x706C7463
"""Marks the file as one of ours (``PRAGMA application_id``): "pltc"."""


class SQLiteFile:
    """A database that connections are made to as needed, with one ``schema``.

    Readers see a snapshot and wait for nobody. Writers wait for one another, ``timeout`` seconds at
    most. What a transaction wrote is on disk when it ends. A thread's transactions must not nest.
    """

    def __init__(self, path: Path, schema: str, version: int, timeout: float) -> None:
        self.path = path.expanduser().absolute()
        self._schema = schema
        self._version = version
        self._timeout = timeout
        self._idle: list[sqlite3.Connection] = []
        self._is_closed = False
        self._idle_lock = threading.Lock()
        # SQLite's own waiting is for other processes: it polls, and is fair to nobody.
        self._write_lock = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A transaction that reads. Raises `StoreError`."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that writes, undone if an exception leaves it. Raises `StoreError`."""
        if not self._write_lock.acquire(timeout=self._timeout):
            raise StoreError(f"{self.path}: other writes took more than {self._timeout} s")
        try:
            # Immediate: one that starts as a reader can't become a writer when another was faster.
            with self._transaction("BEGIN IMMEDIATE") as connection:
                yield connection
        finally:
            self._write_lock.release()

    def exists(self) -> bool:
        """Whether the database was created. Raises `StoreError` where one may not look."""
        try:
            return self.path.is_file() and self.path.stat().st_size > 0
        except OSError as error:
            raise StoreError(f"{self.path}: {error}") from error

    def close(self) -> None:
        """Close all connections, those in use when their transactions end."""
        with self._idle_lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._take()
            try:
                connection.execute(begin)
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.close()  # which rolls back; whatever state it was in, nobody meets it
                raise
            self._give_back(connection)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self.path}: {error}") from error

    def _take(self) -> sqlite3.Connection:
        with self._idle_lock:
            if self._is_closed:
                raise StoreError(f"{self.path}: the store is closed")
            if self._idle:
                return self._idle.pop()
        return self._open()

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._idle_lock:
            if not self._is_closed:
                self._idle.append(connection)
                return
        connection.close()

    def _open(self) -> sqlite3.Connection:
        directory = self.path.parent
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(directory):
            if not self.path.exists():
                # SQLite would let all read it. Its companions (-wal, -shm) take over this mode.
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(
                self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA synchronous = FULL")  # NORMAL may lose commits with the power
        connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
        if self._is_ready(connection):
            return
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        for statement in self._schema.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {self._version}")
        connection.execute("COMMIT")

    def _is_ready(self, connection: sqlite3.Connection) -> bool:
        """Whether the schema is there, False for a new file; raises `StoreError` for another's."""
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return False
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise StoreError(f"{self.path} is the database of another program")
        if version > self._version:
            raise StoreError(
                f"{self.path} was written by a newer release: it has format {version}, "
                f"this release reads up to {self._version}"
            )
        return True


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep other threads and processes from opening a file in ``directory`` meanwhile.

    Switching a new file to WAL fails, without waiting, when another connection looks at it. The
    lock is not on the file: closing that would drop the locks which SQLite has on it (POSIX's rule,
    https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
