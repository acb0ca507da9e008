"""A completion's body: the bytes in which a store keeps all of it but the metadata."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import orjson

from shared.storage.base import StoreError
from shared.storage.types import StoredCompletion

VERSION = 1
"""Of the body's format, part of each body. What has another one is refused, never guessed at."""

_NAMES = tuple(field.name for field in fields(StoredCompletion) if field.name != "metadata")
_DAMAGE = (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError, AttributeError)
"""What gzip and JSON raise on other bytes than a body's."""


def encode(completion: StoredCompletion) -> bytes:
    """The body: JSON, one object with ``version`` and the completion's fields, in gzip (RFC 1952).

    Equal bytes for equal completions, so that a write can be repeated. Without the metadata, which
    may change while a body never does. Raises `StoreError` for values that JSON does not have.
    """
    data: dict[str, Any] = {"version": VERSION}
    for name in _NAMES:
        value = getattr(completion, name)
        data[name] = dict(value) if isinstance(value, Mapping) else value
    try:
        text = orjson.dumps(data)
    except orjson.JSONEncodeError as error:
        raise StoreError(f"completion {completion.id} can't be written as JSON: {error}") from error
    return gzip.compress(text, compresslevel=6, mtime=0)


def decode(body: bytes, metadata: Mapping[str, str], source: str) -> StoredCompletion:
    """The completion with that body and ``metadata``; ``source`` says in errors where it lay.

    Raises `StoreError` when the body is damaged or of another version.
    """
    try:
        data = orjson.loads(gzip.decompress(body))
        version = data.pop("version")
        if version != VERSION:
            raise ValueError(f"it has version {version}, this release reads version {VERSION}")
        return StoredCompletion(**data, metadata=dict(metadata))
    except _DAMAGE as error:
        raise StoreError(f"{source}: the body can't be read: {error}") from error
