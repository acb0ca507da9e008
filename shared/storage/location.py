"""Store location: the setting ``store``, and the store it names."""

from __future__ import annotations

import os
from pathlib import Path

from shared.storage.base import CompletionStore

_DATABASE = "completions.sqlite3"


def check_location(location: str) -> str:
    """``location`` if it is one; raises `ValueError` with what a location is."""
    scheme, _, rest = location.partition(":")
    if scheme == "dynamodb" and rest.count(",") == 1 and all(rest.split(",")):
        return location
    if location == "none" or scheme == "sqlite":
        return location
    raise ValueError("a store is 'sqlite', 'sqlite:PATH', 'dynamodb:TABLE,BUCKET' or 'none'")


def data_directory(configured: Path | None) -> Path:
    """Where an embedded store lies: as configured, or where the user's data does (XDG)."""
    if configured is not None:
        return configured
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "pilotlight"


def location_problem(location: str, directory: Path | None = None) -> str | None:
    """Why nothing can be stored at ``location``, as far as that can be seen without opening it."""
    path = sqlite_path(location, directory)
    if path is None:
        return None
    place = path.parent
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        return f"{place} is no directory"
    if path.is_dir():
        return f"{path} is a directory"
    if not os.access(path if path.exists() else place, os.W_OK):
        return f"{path if path.exists() else place} can't be written"
    return None


def sqlite_path(location: str, directory: Path | None = None) -> Path | None:
    """The file of a store in SQLite, None for other stores."""
    scheme, _, rest = check_location(location).partition(":")
    if scheme != "sqlite":
        return None
    return Path(rest).expanduser() if rest else data_directory(directory) / _DATABASE


def open_store(location: str, directory: Path | None = None) -> CompletionStore | None:
    """The store at ``location``, None for ``none``; nothing is created or connected to yet.

    ``directory`` is where SQLite's file lies unless the location names one. Imports what it needs:
    most functions use one store, and AWS's library takes 0.2 s.
    """
    scheme, _, rest = check_location(location).partition(":")
    if scheme == "none":
        return None
    if scheme == "dynamodb":
        from shared.storage.dynamodb import DynamoDBStore

        table, bucket = rest.split(",")
        return DynamoDBStore(table, bucket)
    from shared.storage.sqlite.store import SQLiteStore

    path = sqlite_path(location, directory)
    assert path is not None
    return SQLiteStore(path)
