"""Completions in a SQLite file, for one machine."""

from __future__ import annotations

import builtins
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import orjson

from shared.storage.base import CompletionStore, StoreError
from shared.storage.codec import decode, encode
from shared.storage.id_range import id_range, successor
from shared.storage.sqlite_file import SQLiteFile
from shared.storage.types import CompletionQuery, Kind, Page, StoredCompletion

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

_Place = tuple[str, str, str]
"""Where a completion is: tenant, kind, id."""


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
                    _json(completion.metadata),
                    body,
                ),
            )
            if added.rowcount:
                place = (completion.tenant, completion.kind, completion.id)
                _add_pairs(connection, place, completion.metadata)
            _clear_expired(connection, self._now())

    def get(self, tenant: str, kind: Kind, completion_id: str) -> StoredCompletion | None:
        """See `CompletionStore.get`."""
        with self._file.reading() as connection:
            row = self._row(connection, (tenant, kind, completion_id))
        return self._completion(completion_id, *row) if row else None

    def list(self, query: CompletionQuery) -> Page:
        """See `CompletionStore.list`."""
        found: list[tuple[str, str, bytes]] = []
        with self._file.reading() as connection:
            for completion_id in _matching_ids(connection, query):
                row = self._row(connection, (query.tenant, query.kind, completion_id))
                if row is not None:
                    found.append((completion_id, *row))
                if len(found) > query.limit:
                    break
        page = [self._completion(*columns) for columns in found[: query.limit]]
        return Page(completions=page, has_more=len(found) > query.limit)

    def update_metadata(
        self, tenant: str, kind: Kind, completion_id: str, metadata: Mapping[str, str]
    ) -> StoredCompletion | None:
        """See `CompletionStore.update_metadata`."""
        place = (tenant, kind, completion_id)
        with self._file.writing() as connection:
            row = self._row(connection, place)
            if row is None:
                return None
            _remove_pairs(connection, place, orjson.loads(row[0]))
            _add_pairs(connection, place, metadata)
            connection.execute(
                "UPDATE completions SET metadata = ? WHERE tenant = ? AND kind = ? AND id = ?",
                (_json(metadata), *place),
            )
        return self._completion(completion_id, _json(metadata), row[1])

    def delete(self, tenant: str, kind: Kind, completion_id: str) -> bool:
        """See `CompletionStore.delete`."""
        with self._file.writing() as connection:
            row = self._row(connection, (tenant, kind, completion_id))
            if row is not None:
                _remove(connection, (tenant, kind, completion_id), row[0])
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

    def _row(self, connection: sqlite3.Connection, place: _Place) -> tuple[str, bytes] | None:
        """A completion's metadata and body, unless it has expired."""
        row: tuple[str, bytes] | None = connection.execute(
            "SELECT metadata, body FROM completions WHERE tenant = ? AND kind = ? AND id = ?"
            " AND (expires_at IS NULL OR expires_at > ?)",
            (*place, self._now()),
        ).fetchone()
        return row

    def _completion(self, completion_id: str, metadata: str, body: bytes) -> StoredCompletion:
        return decode(body, orjson.loads(metadata), f"{completion_id} in {self._file.path}")


def _matching_ids(connection: sqlite3.Connection, query: CompletionQuery) -> Iterator[str]:
    """Ids in the query's order that all its filters have: a leapfrog join of their indexes.

    Each filter is a sorted list of ids, in which any place is found at once. All of them are asked
    for their next id. Where these differ, nothing matches before the farthest one, and all leap
    there. So common filters cost no more than the rarest, and disjoint ones next to nothing.
    """
    statement, filters = _next_ids(query)
    start, end = id_range(query)
    while True:
        values = {**filters, "start": start, "end": end}
        found = connection.execute(statement, values).fetchone()
        if None in found:
            return
        least, greatest = min(found), max(found)
        if query.order == "asc":
            start = greatest if least != greatest else successor(greatest)
        else:
            end = successor(least) if least != greatest else least
        if least == greatest:
            yield least


def _next_ids(query: CompletionQuery) -> tuple[str, dict[str, str]]:
    """A statement with a column for each filter: its next id; and the filters' values."""
    values = {"tenant": query.tenant, "kind": query.kind}
    lists = []
    if query.model is not None:
        values["model"] = query.model
        lists.append(("completions INDEXED BY completions_by_model", "model = :model"))
    for i, (key, value) in enumerate(query.metadata.items()):
        values |= {f"key{i}": key, f"value{i}": value}
        lists.append(("pairs", f"key = :key{i} AND value = :value{i}"))
    if not lists:
        lists.append(("completions INDEXED BY completions_by_id", "TRUE"))
    columns = [
        f"(SELECT id FROM {source} WHERE tenant = :tenant AND kind = :kind AND {condition}"
        f" AND id >= :start AND id < :end ORDER BY id {query.order} LIMIT 1)"
        for source, condition in lists
    ]
    return f"SELECT {', '.join(columns)}", values


def _json(metadata: Mapping[str, str]) -> str:
    return orjson.dumps(dict(metadata)).decode()


def _add_pairs(connection: sqlite3.Connection, place: _Place, metadata: Mapping[str, str]) -> None:
    tenant, kind, completion_id = place
    connection.executemany(
        "INSERT INTO pairs (tenant, kind, key, value, id) VALUES (?, ?, ?, ?, ?)",
        [(tenant, kind, key, value, completion_id) for key, value in metadata.items()],
    )


def _remove_pairs(
    connection: sqlite3.Connection, place: _Place, metadata: Mapping[str, str]
) -> None:
    tenant, kind, completion_id = place
    connection.executemany(
        "DELETE FROM pairs WHERE tenant = ? AND kind = ? AND key = ? AND value = ? AND id = ?",
        [(tenant, kind, key, value, completion_id) for key, value in metadata.items()],
    )


def _remove(connection: sqlite3.Connection, place: _Place, metadata: str) -> None:
    _remove_pairs(connection, place, orjson.loads(metadata))
    connection.execute("DELETE FROM completions WHERE tenant = ? AND kind = ? AND id = ?", place)


def _clear_expired(connection: sqlite3.Connection, now: float) -> int:
    """Remove a few of the completions that have expired; how many."""
    expired = connection.execute(
        "SELECT tenant, kind, id, metadata FROM completions INDEXED BY completions_by_expiry"
        " WHERE expires_at <= ? LIMIT ?",
        (now, _CLEARED_AT_ONCE),
    ).fetchall()
    for tenant, kind, completion_id, metadata in expired:
        _remove(connection, (tenant, kind, completion_id), metadata)
    return len(expired)
