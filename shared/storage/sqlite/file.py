"""SQLite file of a store: created privately, checked, shared by threads and processes."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from shared.storage.base import StoreError, WouldBlockError

APPLICATION_ID = 0x706C7463
"""Marks the file as one of ours (``PRAGMA application_id``): "pltc"."""

_POLL_SECONDS = 0.01
"""Between looks whether another process still opens a file."""

_MOST_NONBLOCKING = 100
"""Writes without a checkpoint, which copies a log of 1,000 pages into the database; then one has to
come that may wait for the disk."""


class _Budget:
    """The time that one operation may wait for others, whatever it waits for and how often."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, 0 when it is spent."""
        return max(self._until - time.monotonic(), 0.0)

    def limit(self, connection: sqlite3.Connection) -> None:
        """Let the next statements wait no longer: SQLite counts from zero at each of them."""
        connection.execute(f"PRAGMA busy_timeout = {int(self.left() * 1000)}")


class SQLiteFile:
    """A database that connections are made to as needed, with one ``schema``.

    Readers see a snapshot and wait for nobody. Writers wait for one another. A transaction waits
    ``timeout`` seconds at most, for all that it needs. What it wrote is on disk when it ends. A
    thread's transactions must not nest.
    """

    def __init__(
        self,
        path: Path,
        schema: str,
        version: int,
        timeout: float,
        *,
        survives_power_loss: bool = True,
    ) -> None:
        """Without ``survives_power_loss`` a commit waits for no disk.

        Then the last commits may be gone after the machine has lost its power, though not after a
        process was killed; and a commit takes a fifth of the time.
        """
        self.path = path.expanduser().absolute()
        self._schema = schema
        self._version = version
        self._timeout = timeout
        self._synchronous = "FULL" if survives_power_loss else "NORMAL"
        self._idle: list[sqlite3.Connection] = []
        self._is_closed = False
        self._idle_lock = threading.Lock()
        # SQLite's own waiting is for other processes: it polls, and is fair to nobody.
        self._write_lock = threading.Lock()
        self._nonblocking: sqlite3.Connection | None = None
        self._n_nonblocking = 0

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A transaction that reads. Raises `StoreError`."""
        with self._transaction("BEGIN", _Budget(self._timeout)) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that writes, undone if an exception leaves it. Raises `StoreError`."""
        budget = _Budget(self._timeout)
        if not self._write_lock.acquire(timeout=budget.left()):
            raise StoreError(f"{self.path}: other writes took more than {self._timeout} s")
        try:
            # Immediate: one that starts as a reader can't become a writer when another was faster.
            with self._transaction("BEGIN IMMEDIATE", budget) as connection:
                yield connection
        finally:
            self._write_lock.release()

    def write(self, statement: str, parameters: Sequence[object]) -> int:
        """The rows that one statement changes: a transaction of its own. Raises `StoreError`."""
        budget = _Budget(self._timeout)
        if not self._write_lock.acquire(timeout=budget.left()):
            raise StoreError(f"{self.path}: other writes took more than {self._timeout} s")
        try:
            connection = self._take(budget)
            try:
                budget.limit(connection)
                n_rows = connection.execute(statement, parameters).rowcount
            except BaseException:
                connection.close()
                raise
            self._give_back(connection)
            self._allow_nonblocking()
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self.path}: {error}") from error
        finally:
            self._write_lock.release()
        return n_rows

    def write_nonblocking(self, statement: str, parameters: Sequence[object]) -> int:
        """As `write`, for an event loop: waits neither for others nor for a disk.

        Raises `WouldBlockError`, and has changed nothing, where it would have to; the caller goes
        on with `write` on a thread. Only without ``survives_power_loss``.
        """
        connection = self._nonblocking
        if connection is None or self._n_nonblocking >= _MOST_NONBLOCKING:
            raise WouldBlockError
        if not self._write_lock.acquire(blocking=False):
            raise WouldBlockError
        try:
            n_rows = connection.execute(statement, parameters).rowcount
            self._n_nonblocking += 1
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                raise WouldBlockError from error  # another process writes
            raise StoreError(f"{self.path}: {error}") from error
        finally:
            self._write_lock.release()
        return n_rows

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
            nonblocking = self._nonblocking
        for connection in idle:
            connection.close()
        if nonblocking is not None:
            with self._write_lock:
                nonblocking.close()

    @contextmanager
    def _transaction(self, begin: str, budget: _Budget) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._take(budget)
            try:
                budget.limit(connection)
                connection.execute(begin)
                yield connection
                budget.limit(connection)
                connection.execute("COMMIT")
            except BaseException:
                connection.close()  # which rolls back; whatever state it was in, nobody meets it
                raise
            self._give_back(connection)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self.path}: {error}") from error

    def _take(self, budget: _Budget) -> sqlite3.Connection:
        with self._idle_lock:
            if self._is_closed:
                raise StoreError(f"{self.path}: the store is closed")
            if self._idle:
                return self._idle.pop()
        return self._open(budget)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._idle_lock:
            if not self._is_closed:
                self._idle.append(connection)
                return
        connection.close()

    def _allow_nonblocking(self) -> None:
        """Let the next writes be nonblocking ones, if they may be. With the lock of writers.

        After a write, which is no failure where this fails: then the next write tries again.
        """
        self._n_nonblocking = 0
        if self._nonblocking is None and self._synchronous != "FULL" and not self._is_closed:
            with suppress(sqlite3.Error, OSError, StoreError):
                connection = self._open(_Budget(0))
                try:
                    connection.execute("PRAGMA busy_timeout = 0")
                    connection.execute("PRAGMA wal_autocheckpoint = 0")
                    with self._idle_lock:
                        self._nonblocking = None if self._is_closed else connection
                finally:
                    if self._nonblocking is None:
                        connection.close()

    def _open(self, budget: _Budget) -> sqlite3.Connection:
        directory = self.path.parent
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(directory, budget):
            if not self.path.exists():
                # SQLite would let all read it. Its companions (-wal, -shm) take over this mode.
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(
                self.path, timeout=0, isolation_level=None, check_same_thread=False
            )
            # As they are, also where they are no UTF-8: one of them shall not hide all others.
            connection.text_factory = lambda data: data.decode(errors="backslashreplace")
            try:
                self._prepare(connection, budget)
            except BaseException:
                connection.close()
                raise
        return connection

    def _prepare(self, connection: sqlite3.Connection, budget: _Budget) -> None:
        budget.limit(connection)
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
        if self._is_ready(connection):
            return
        budget.limit(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        budget.limit(connection)
        connection.execute("BEGIN IMMEDIATE")
        for statement in self._schema.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {self._version}")
        budget.limit(connection)
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
def _locked(directory: Path, budget: _Budget) -> Iterator[None]:
    """Keep other threads and processes from opening a file in ``directory`` meanwhile.

    Switching a new file to WAL fails, without waiting, when another connection looks at it. The
    lock is not on the file: closing that would drop the locks which SQLite has on it (POSIX's rule,
    https://www.sqlite.org/howtocorrupt.html, 2.2). Raises `StoreError`.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not budget.left():
                    raise StoreError(f"{directory}: others take too long to open a file") from None
                time.sleep(min(_POLL_SECONDS, budget.left()))
        yield
    finally:
        os.close(descriptor)
