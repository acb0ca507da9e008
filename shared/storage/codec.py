"""Codec of a completion's body: the bytes in which a store keeps all of it but the metadata."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import orjson

from shared.storage.base import DamagedCompletionError, StoreError
from shared.storage.types import Place, StoredCompletion

_LEFT_OUT = ("served_by", "dialect_fields")
"""Fields that a body has only where there is something: releases before them read the others."""
VERSION = 1
"""Of the body's format, part of each body. What has another one is refused, never guessed at."""

_NAMES = tuple(field.name for field in fields(StoredCompletion) if field.name != "metadata")
_TEXT, _OBJECT, _INTEGER, _NOTHING = (str,), (dict,), (int,), (type(None),)
_TYPES: Mapping[str, tuple[type, ...]] = {
    "id": _TEXT,
    "kind": _TEXT,
    "tenant": _TEXT,
    "created": _INTEGER,
    "model": _TEXT,
    "request": _OBJECT,
    "response": _OBJECT,
    "used": _OBJECT,
    "request_id": _TEXT + _NOTHING,
    "timings": _OBJECT,
    "user": _TEXT + _NOTHING,
    "key_id": _TEXT + _NOTHING,
    "is_incomplete": (bool,),
    "served_by": _TEXT,
    "expires_at": _INTEGER + _NOTHING,
    "dialect_fields": _OBJECT,
}
"""What a body's fields are in JSON."""
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
        if name in _LEFT_OUT and value is None:
            continue
        data[name] = dict(value) if isinstance(value, Mapping) else value
    try:
        text = orjson.dumps(data)
    except orjson.JSONEncodeError as error:
        raise StoreError(f"completion {completion.id} can't be written as JSON: {error}") from error
    return gzip.compress(text, compresslevel=6, mtime=0)


def decode(body: bytes, metadata: Mapping[str, str], place: Place, source: str) -> StoredCompletion:
    """The completion at ``place`` with that body and ``metadata``; ``source`` is where it lay.

    Raises `DamagedCompletionError` when the body is damaged, another's or of another version.
    """
    try:
        data = orjson.loads(gzip.decompress(body))
        version = data.pop("version")
        if version != VERSION:
            raise ValueError(f"it has version {version}, this release reads version {VERSION}")
        for name, value in data.items():
            if type(value) not in _TYPES.get(name, ()):
                raise ValueError(f"{name!r} can't be of type {type(value).__name__}")
        completion = StoredCompletion(**data, metadata=dict(metadata))
        if (completion.tenant, completion.kind, completion.id) != place:
            raise ValueError("it is another completion's")
    except _DAMAGE as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise DamagedCompletionError(
            place.id, source, f"the body can't be read: {reason}"
        ) from error
    return completion


def encode_metadata(completion_id: str, metadata: Mapping[str, str]) -> str:
    """Metadata as JSON; raises `StoreError` for values that JSON does not have."""
    try:
        return orjson.dumps(dict(metadata)).decode()
    except orjson.JSONEncodeError as error:
        raise StoreError(
            f"metadata of {completion_id} can't be written as JSON: {error}"
        ) from error


def decode_metadata(text: bytes | str) -> dict[str, str]:
    """Metadata from JSON; raises `ValueError` for anything but an object of strings."""
    found = orjson.loads(text)
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError("it is no JSON object of strings")
    return found
