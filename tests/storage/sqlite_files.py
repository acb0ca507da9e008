"""Making SQLite files, and doing to them what stores don't do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from shared.storage.sqlite.store import SQLiteStore
from tests.storage.completions import sample

TENANT = "default"


def fill(path: Path, n: int = 1) -> None:
    """Keep ``n`` completions in the file."""
    store = SQLiteStore(path)
    for number in range(n):
        store.put(sample(number, tenant=TENANT, metadata={"run": "7"}))
    store.close()


def run(path: Path, statement: str) -> list[tuple[object, ...]]:
    """Do something to the file that stores don't do."""
    connection = sqlite3.connect(path)
    with connection:
        rows = connection.execute(statement).fetchall()
    connection.close()
    return rows
