"""Location of a prefix store: the setting ``prefix_store``, and the store it names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.storage.prefixes.files import PrefixFiles

_S3 = re.compile(r"s3://(?P<bucket>[A-Za-z0-9][\w.\-]{1,253}[A-Za-z0-9])(/(?P<prefix>[^?]*))?")
"""Buckets of long ago may have capitals in their names."""


def check_prefix_store(location: str) -> str:
    """``location`` if it is one, or empty; raises `ValueError` with what it should be."""
    if location.startswith("s3:"):
        if _S3.fullmatch(location) is None:
            raise ValueError("a bucket for prefixes is s3://BUCKET or s3://BUCKET/PREFIX")
    elif "://" in location:
        raise ValueError("a store of prefixes is a directory or s3://BUCKET/PREFIX")
    return location


def open_prefix_store(location: str, *, budget: int, max_age: float) -> PrefixFiles:
    """The store at ``location``; nothing is created or connected to yet. Imports what it needs.

    - ``budget``: bytes of a directory. What is in a bucket, its lifecycle rule bounds.
    - ``max_age``: seconds that files are kept in a directory, and count in a bucket.
    """
    if match := _S3.fullmatch(location):
        from shared.storage.prefixes.s3 import S3Store

        return S3Store(match["bucket"], match["prefix"] or "", max_age=max_age)
    from shared.storage.prefixes.directory import DirectoryStore

    return DirectoryStore(Path(location).expanduser(), budget=budget, max_age=max_age)
