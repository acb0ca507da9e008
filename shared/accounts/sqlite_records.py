"""Records of accounts in a SQLite file, for one machine."""

from __future__ import annotations

import builtins
import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from shared.accounts.records import Place, Record, Records
from shared.storage.base import StoreError
from shared.storage.sqlite.file import SQLiteFile

_VERSION = 1

_SCHEMA = """
CREATE TABLE records (
    partition TEXT NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (partition, key)
) WITHOUT ROWID
"""

_LAST = "\U0010ffff"
"""Follows all characters that keys have."""


class SQLiteRecords(Records):
    """Keeps records in the file ``path``, which is created at first use, for its owner only.

    Not in that of the completions: a large body being written would hold up the others.
    """

    def __init__(
        self, path: Path, *, timeout: float = 10.0, survives_power_loss: bool = True
    ) -> None:
        self._file = SQLiteFile(
            path, _SCHEMA, _VERSION, timeout, survives_power_loss=survives_power_loss
        )

    def get_all(self, places: Sequence[Place]) -> dict[Place, Record]:
        """See `Records.get_all`."""
        with self._file.reading() as connection:
            found = [self._read(connection, place) for place in places]
        return {record.place: record for record in found if record is not None}

    def list(
        self,
        partition: str,
        prefix: str,
        *,
        limit: int,
        after: str | None = None,
        descending: bool = False,
    ) -> Sequence[Record]:
        """See `Records.list`."""
        low, high = prefix, prefix + _LAST
        if after is not None:
            low, high = (low, min(high, after)) if descending else (max(low, after), high)
        with self._file.reading() as connection:
            rows = connection.execute(
                "SELECT key, version, value FROM records"
                " WHERE partition = ? AND key >= ? AND key <= ? AND key IS NOT ?"
                f" ORDER BY key {'DESC' if descending else 'ASC'} LIMIT ?",
                (partition, low, high, after, limit),
            ).fetchall()
        return [self._record(Place(partition, key), version, value) for key, version, value in rows]

    def write(self, puts: Sequence[Record], removals: Sequence[Record] = ()) -> bool:
        """See `Records.write`."""
        if len(puts) == 1 and not removals:
            return self._file.write(*_put(puts[0])) > 0
        with self._file.writing() as connection:
            for record in (*puts, *removals):
                row = connection.execute(
                    "SELECT version FROM records WHERE partition = ? AND key = ?", record.place
                ).fetchone()
                if (row[0] if row else 0) != record.version:
                    return False  # nothing has been written yet
            connection.executemany(
                "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)",
                [(*r.place, r.version + 1, _text(r.value)) for r in puts],
            )
            connection.executemany(
                "DELETE FROM records WHERE partition = ? AND key = ?", [r.place for r in removals]
            )
        return True

    def write_nonblocking(self, record: Record) -> bool:
        """See `Records.write_nonblocking`."""
        return self._file.write_nonblocking(*_put(record)) > 0

    def initialize(self) -> None:
        """See `Records.initialize`."""
        with self._file.reading():
            pass

    def close(self) -> None:
        """See `Records.close`."""
        self._file.close()

    def _read(self, connection: sqlite3.Connection, place: Place) -> Record | None:
        row = connection.execute(
            "SELECT version, value FROM records WHERE partition = ? AND key = ?", place
        ).fetchone()
        return self._record(place, *row) if row else None

    def _record(self, place: Place, version: int, value: builtins.str) -> Record:
        try:
            return Record(place, json.loads(value), version)
        except ValueError as error:
            where = f"record '{place.key}' in '{place.partition}'"
            raise StoreError(f"{self._file.path}: {where} is damaged: {error}") from error


def _put(record: Record) -> tuple[str, tuple[object, ...]]:
    """The statement that puts one record, as the ledger does, and what it needs."""
    value = _text(record.value)
    if record.version:
        statement = (
            "UPDATE records SET version = version + 1, value = ?"
            " WHERE partition = ? AND key = ? AND version = ?"
        )
        return statement, (value, *record.place, record.version)
    return "INSERT INTO records VALUES (?, ?, 1, ?) ON CONFLICT DO NOTHING", (*record.place, value)


def _text(value: Mapping[str, Any]) -> str:
    """A value as JSON. The standard library's takes what is no UTF-8, and any number."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return json.dumps(value)
