"""Queries for the ids of a page in SQLite, by the indexes of its filters.

Ids are bytes here, which are compared as SQLite compares texts: a damaged one is no UTF-8.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from shared.storage.id_range import id_range
from shared.storage.types import CompletionQuery


def as_bytes(*texts: str) -> Sequence[bytes]:
    """Texts as SQLite has them, also such as are damaged."""
    return [text.encode(errors="surrogateescape") for text in texts]


def as_text(data: bytes) -> str:
    """The text that `as_bytes` makes ``data`` of."""
    return data.decode(errors="surrogateescape")


def matching_ids(connection: sqlite3.Connection, query: CompletionQuery) -> Iterator[bytes]:
    """Ids in the query's order that all its filters have: a leapfrog join of their indexes.

    Each filter is a sorted list of ids, in which any place is found at once. All of them are asked
    for their next id. Where these differ, nothing matches before the farthest one, and all leap
    there. So common filters cost no more than the rarest, and disjoint ones next to nothing.
    """
    statement, filters = _next_ids(query)
    start, end = as_bytes(*id_range(query))
    while True:
        values = {**filters, "start": start, "end": end}
        found = connection.execute(statement, values).fetchone()
        if None in found:
            return
        least, greatest = min(found), max(found)
        if query.order == "asc":
            start = greatest if least != greatest else _successor(greatest)
        else:
            end = _successor(least) if least != greatest else least
        if least == greatest:
            yield least


def _successor(completion_id: bytes) -> bytes:
    """The least id that sorts behind ``completion_id``."""
    return completion_id + b"\0"


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
        f"(SELECT CAST(id AS BLOB) FROM {source}"
        f" WHERE tenant = :tenant AND kind = :kind AND {condition}"
        f" AND id >= CAST(:start AS TEXT) AND id < CAST(:end AS TEXT)"
        f" ORDER BY id {query.order} LIMIT 1)"
        for source, condition in lists
    ]
    return f"SELECT {', '.join(columns)}", values
