"""Directories of prefixes."""

from __future__ import annotations

from pathlib import Path

from shared.storage.prefixes.directory import DirectoryStore

DAY = 86400.0


def store_of(root: Path, *, budget: int = 2**30, max_age: float = DAY) -> DirectoryStore:
    return DirectoryStore(root, budget=budget, max_age=max_age)


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())
