"""What a request field's type allows, in the words of docs/api.md."""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types as at
from pydantic.fields import FieldInfo

_UNBOUNDED = 2**31 - 1
"""Limits from here on are those of C's integers: nobody comes near."""


def spelled(field: FieldInfo) -> str:
    """The range of a field, empty where its type has none."""
    return _spelled(field.annotation, field.metadata)


def _spelled(annotation: Any, metadata: Iterable[object] = ()) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        flat = [item for extra in annotation.__metadata__ for item in _flat(extra)]
        return _spelled(arguments[0], [*flat, *metadata])
    if origin in (Union, types.UnionType):
        known = [_spelled(each, metadata) for each in arguments if each is not type(None)]
        return " or ".join(dict.fromkeys(each for each in known if each))
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    low, high = _bounds(metadata)
    if origin is list:
        items = _spelled(arguments[0])
        count = _counted(low, high, "items")
        return " of ".join(part for part in (count, items) if part) if count else items
    if origin is dict:
        parts = [_counted(low, high, "pairs")]
        parts += [
            f"{kind} {text}"
            for kind, part in zip(("keys", "values"), arguments, strict=True)
            if (text := _spelled(part))
        ]
        return ", ".join(part for part in parts if part)
    if annotation is str:
        return _counted(low, high, "characters")
    if annotation in (int, float):
        return _between(low, high)
    return ""


def _flat(extra: object) -> Iterable[object]:
    return extra.metadata if isinstance(extra, FieldInfo) else [extra]


def _bounds(metadata: Iterable[object]) -> tuple[str, int | float | None]:
    low, high = "", None
    for rule in metadata:
        if isinstance(rule, at.Ge):
            low = f"{rule.ge}"
        elif isinstance(rule, at.Gt):
            low = f"above {rule.gt}"
        elif isinstance(rule, at.MinLen):
            low = f"{rule.min_length}"
        elif isinstance(rule, at.Le):
            assert isinstance(rule.le, int | float)
            high = rule.le
        elif isinstance(rule, at.MaxLen):
            high = rule.max_length
    return low, high


def _between(low: str, high: int | float | None) -> str:
    if high is None or (high >= _UNBOUNDED and not low.startswith("-9")):
        return f"{low} or more" if low else ""
    return f"{low} to {high}" if low else f"up to {high}"


def _counted(low: str, high: int | float | None, what: str) -> str:
    between = _between(low, high)
    return f"{between} {what}" if between else ""
