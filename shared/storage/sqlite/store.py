"""Store of completions in a SQLite file, for one machine."""

from __future__ import annotations

import builtins
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from shared.storage.base import CompletionStore, DamagedCompletionError, StoreError
from shared.storage.codec import decode, decode_metadata, encode, encode_metadata
from shared.storage.pages import Found, page_of
from shared.storage.sqlite.file import SQLiteFile
from shared.storage.sqlite.ids import as_bytes, as_text, matching_ids
from shared.storage.types import CompletionQuery, Kind, Page, Place, StoredCompletion

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE completions (
    tenant TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    model TEXT NOT NULL,
    expires_at INTEGER,
    metadata TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE UNIQUE INDEX completions_by_id ON completions (tenant, kind, id);
CREATE INDEX completions_by_model ON completions (tenant, kind, model, id);
CREATE INDEX completions_by_expiry ON completions (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE pairs (
    tenant TEXT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (tenant, kind, key, value, id)
) WITHOUT ROWID
"""
# Each filter has an index that ends in the id, and holds all that a filter needs to know: bodies
# are read for the completions of a page only. `completions.metadata` is what a completion shows,
# `pairs` what it is found by; `body` comes last, so that nothing else is read past it.

_TENANTS = """
WITH RECURSIVE found (tenant) AS (
    SELECT min(tenant) FROM completions
    UNION ALL
    SELECT (SELECT min(tenant) FROM completions WHERE tenant > found.tenant)
    FROM found WHERE found.tenant IS NOT NULL
)
SELECT tenant FROM found WHERE EXISTS (
    SELECT 1 FROM completions
    WHERE completions.tenant = found.tenant AND (expires_at IS NULL OR expires_at > :now)
) LIMIT :limit
"""

_CLEARED_AT_ONCE = 10
"""Expired completions that a put clears away: more than it adds, so that they become fewer."""

_Place = Sequence[bytes]
"""A `Place` as SQLite has it: in bytes, which damaged texts have too."""

_AT_PLACE = "tenant = CAST(? AS TEXT) AND kind = CAST(? AS TEXT) AND id = CAST(? AS TEXT)"

_Row = tuple[int, bytes, bytes]
"""A completion's ``rowid``, metadata and body; of any type, where it is damaged."""


class SQLiteStore(CompletionStore):
    """Keeps completions in the file ``path``, which is created at first use, for its owner only.

    Threads share a store, and processes a file; a write waits ``timeout`` seconds at most.
    ``now`` is the clock that completions expire by, in seconds since 1970.
    """

    def __init__(
        self, path: Path, *, timeout: float = 10.0, now: Callable[[], float] = time.time
    ) -> None:
        self._file = SQLiteFile(path, _SCHEMA, SCHEMA_VERSION, timeout)
        self._now = now

    def put(self, completion: StoredCompletion) -> None:
        """See `CompletionStore.put`."""
        body = encode(completion)
        metadata = encode_metadata(completion.id, completion.metadata)
        with self._file.writing() as connection:
            added = connection.execute(
                "INSERT INTO completions (tenant, kind, id, model, expires_at, metadata, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, kind, id) DO NOTHING",
                (
                    completion.tenant,
                    completion.kind,
                    completion.id,
                    completion.model,
                    completion.expires_at,
                    metadata,
                    body,
                ),
            )
            if added.rowcount:
                place = Place(completion.tenant, completion.kind, completion.id)
                _add_pairs(connection, place, completion.metadata)
            _clear_expired(connection, self._now())

    def get(self, tenant: str, kind: Kind, completion_id: str) -> StoredCompletion | None:
        """See `CompletionStore.get`."""
        place = Place(tenant, kind, completion_id)
        with self._file.reading() as connection:
            row = self._row(connection, place)
        return self._completion(place, row) if row else None

    def list(self, query: CompletionQuery) -> Page:
        """See `CompletionStore.list`."""
        with self._file.reading() as connection:
            found = self._found(connection, query)
            return page_of(found, found, query.limit)

    def update_metadata(
        self, tenant: str, kind: Kind, completion_id: str, metadata: Mapping[str, str]
    ) -> StoredCompletion | None:
        """See `CompletionStore.update_metadata`."""
        place = Place(tenant, kind, completion_id)
        text = encode_metadata(completion_id, metadata)
        with self._file.writing() as connection:
            row = self._row(connection, place)
            if row is None:
                return None
            completion = self._completion(place, row)
            _remove_pairs(connection, as_bytes(*place), row[1])
            _add_pairs(connection, place, metadata)
            connection.execute(
                "UPDATE completions SET metadata = ? WHERE rowid = ?", (text, row[0])
            )
        return replace(completion, metadata=dict(metadata))

    def delete(self, tenant: str, kind: Kind, completion_id: str) -> bool:
        """See `CompletionStore.delete`."""
        place = Place(tenant, kind, completion_id)
        with self._file.writing() as connection:
            row = self._row(connection, place)
            if row is not None:
                _remove(connection, as_bytes(*place), *row[:2])
        return row is not None

    def initialize(self) -> None:
        """Create the file, where it is missing, and see that it is one of ours."""
        with self._file.reading():
            pass

    def sweep(self) -> int:
        """See `CompletionStore.sweep`. Each put clears a few expired completions by itself."""
        total = 0
        while True:
            with self._file.writing() as connection:
                cleared = _clear_expired(connection, self._now())
            total += cleared
            if not cleared:
                return total

    def check_is_there(self) -> None:
        """Raise `StoreError` where there is no file yet: for those who would only read it."""
        if not self._file.exists():
            raise StoreError(f"there is no store at {self._file.path}")

    def tenants(self, limit: int) -> builtins.list[str]:
        """Up to ``limit`` tenants that have completions, by name. Raises `StoreError`.

        Leaps from each tenant to the next in an index: it grows with them, not with what they have.
        """
        with self._file.reading() as connection:
            rows = connection.execute(_TENANTS, {"now": self._now(), "limit": limit}).fetchall()
        return [tenant for (tenant,) in rows]

    def close(self) -> None:
        """See `CompletionStore.close`."""
        self._file.close()

    def _row(self, connection: sqlite3.Connection, place: Place) -> _Row | None:
        """What there is of a completion, unless it has expired."""
        row: _Row | None = connection.execute(
            f"SELECT rowid, CAST(metadata AS BLOB), body FROM completions WHERE {_AT_PLACE}"
            " AND (expires_at IS NULL OR expires_at > ?)",
            (*as_bytes(*place), self._now()),
        ).fetchone()
        return row

    def _found(self, connection: sqlite3.Connection, query: CompletionQuery) -> Iterator[Found]:
        """What a query finds, in order."""
        for completion_id in matching_ids(connection, query):
            place = Place(query.tenant, query.kind, as_text(completion_id))
            row = self._row(connection, place)
            if row is None:
                continue
            try:
                completion = self._completion(place, row)
            except DamagedCompletionError as damage:
                yield damage
            else:
                # Not so only if `pairs` is damaged.
                if query.metadata.items() <= completion.metadata.items():
                    yield completion

    def _completion(self, place: Place, row: _Row) -> StoredCompletion:
        """Raises `DamagedCompletionError`."""
        _, metadata, body = row
        try:
            pairs = decode_metadata(metadata)
        except ValueError as error:
            reason = f"the metadata can't be read: {error}"
            raise DamagedCompletionError(place.id, str(self._file.path), reason) from error
        return decode(body, pairs, place, str(self._file.path))


def _add_pairs(connection: sqlite3.Connection, place: Place, metadata: Mapping[str, str]) -> None:
    connection.executemany(
        # There already is only what damage has left.
        "INSERT INTO pairs (tenant, kind, key, value, id) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        [(place.tenant, place.kind, key, value, place.id) for key, value in metadata.items()],
    )


def _remove_pairs(connection: sqlite3.Connection, place: _Place, metadata: bytes) -> None:
    try:
        pairs = decode_metadata(metadata)
    except ValueError:
        # Nobody knows any more which they are: all of the tenant's are searched for them.
        connection.execute(f"DELETE FROM pairs WHERE {_AT_PLACE}", place)
        return
    connection.executemany(
        f"DELETE FROM pairs WHERE {_AT_PLACE} AND key = ? AND value = ?",
        [(*place, key, value) for key, value in pairs.items()],
    )


def _remove(connection: sqlite3.Connection, place: _Place, rowid: int, metadata: bytes) -> None:
    _remove_pairs(connection, place, metadata)
    connection.execute("DELETE FROM completions WHERE rowid = ?", (rowid,))


def _clear_expired(connection: sqlite3.Connection, now: float) -> int:
    """Remove a few of the completions that have expired; how many."""
    expired = connection.execute(
        "SELECT CAST(tenant AS BLOB), CAST(kind AS BLOB), CAST(id AS BLOB),"
        " rowid, CAST(metadata AS BLOB) FROM completions INDEXED BY completions_by_expiry"
        " WHERE expires_at <= ? LIMIT ?",
        (now, _CLEARED_AT_ONCE),
    ).fetchall()
    for *place, rowid, metadata in expired:
        _remove(connection, place, rowid, metadata)
    return len(expired)
