"""Values of an upstream's JSON, of the types that they have to have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

_MOST_TOKENS = 10**9


class MalformedAnswerError(ValueError):
    """JSON that is no answer of the upstream's API."""


def loads(text: bytes) -> dict[str, Any]:
    """The object that ``text`` is; raises `MalformedAnswerError`."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise MalformedAnswerError(str(error)) from None
    return as_object(value)


def dumps(value: object) -> str:
    """``value`` as JSON; raises `MalformedAnswerError` for what is nested too deeply for that."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError as error:
        raise MalformedAnswerError(str(error)) from None


def as_object(value: object) -> dict[str, Any]:
    """``value``, which has to be an object."""
    if not isinstance(value, dict):
        raise MalformedAnswerError("no object")
    return value


def member(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object ``name`` of ``data``."""
    return as_object(data.get(name))


def items(data: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects in the array ``name`` of ``data``."""
    values = data.get(name)
    if not isinstance(values, list):
        raise MalformedAnswerError(f"'{name}' is no array")
    return [as_object(value) for value in values]


def text(data: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """The text ``name`` of ``data``; ``default`` where it is null or not there."""
    value = data.get(name)
    if value is None:
        value = default
    if not isinstance(value, str):
        raise MalformedAnswerError(f"'{name}' is no text")
    return value


def label(data: Mapping[str, Any], name: str) -> str:
    """The text ``name`` of ``data``, which may not be empty."""
    if not (value := text(data, name)):
        raise MalformedAnswerError(f"'{name}' is empty")
    return value


def index(data: Mapping[str, Any], name: str) -> int:
    """The number ``name`` of ``data`` that a part of the answer has."""
    value = data.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise MalformedAnswerError(f"'{name}' is no number")
    return value


def token_count(data: Mapping[str, Any], name: str) -> int | None:
    """The number of tokens ``name`` of ``data``; None where it is null or not there."""
    value = data.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST_TOKENS:
        raise MalformedAnswerError(f"'{name}' is no number of tokens")
    return value
