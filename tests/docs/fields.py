"""The fields of request and response types, nested ones too, as paths.

``messages[user].content[text].text`` is the text of a part of type ``text`` in a message of the role
``user``; ``choices[].index`` is in every item of an array whose items are all of one kind.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import BaseModel
from typing_extensions import is_typeddict

_KINDS = ("role", "type")
"""Fields that say which member of a union an object is."""


@dataclass(frozen=True, slots=True)
class FieldType:
    """One field. ``values`` are those that its type lists, if it does."""

    path: str
    values: frozenset[str]


def fields(*schemas: type) -> dict[str, FieldType]:
    """All fields of TypedDicts or pydantic models, by their path."""
    found: dict[str, FieldType] = {}
    for schema in schemas:
        for path, annotation in _walk(schema, ""):
            known = found[path].values if path in found else frozenset[str]()
            found[path] = FieldType(path, known | {*_literals(annotation)})
    return found


def plain(path: str) -> str:
    """``path`` without what is in brackets: what it is called, whatever its neighbours."""
    return "".join(part.partition("[")[0] for part in path.split("]"))


def _walk(schema: type, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, annotation in _hints(schema).items():
        path = f"{prefix}{name}"
        yield path, annotation
        models = list(_models(annotation, in_array=False))
        for model, in_array in models:
            kind = _kind(model) if in_array or len(models) > 1 else ""
            brackets = f"[{kind}]" if kind or in_array else ""
            yield from _walk(model, f"{path}{brackets}.")


def _hints(schema: type) -> dict[str, Any]:
    """Field names, as they are in JSON, and their annotations."""
    if issubclass(schema, BaseModel):
        return {
            field.alias or name: field.annotation for name, field in schema.model_fields.items()
        }
    return get_type_hints(schema, include_extras=True)


def _models(annotation: Any, *, in_array: bool) -> Iterator[tuple[type, bool]]:
    """The types with fields in an annotation, each with whether it is an array's item."""
    origin = get_origin(annotation)
    if origin is None:
        if _has_fields(annotation):
            yield annotation, in_array
    elif origin in (Required, NotRequired, Annotated):
        yield from _models(get_args(annotation)[0], in_array=in_array)
    elif origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _models(member, in_array=in_array)
    elif origin is not Literal and origin is not dict:
        for item in get_args(annotation):
            yield from _models(item, in_array=True)


def _has_fields(annotation: Any) -> bool:
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return is_model or is_typeddict(annotation)


def _kind(model: type) -> str:
    for name, annotation in _hints(model).items():
        values = list(_literals(annotation))
        if name in _KINDS and len(values) == 1:
            return values[0]
    return ""


def _literals(annotation: Any) -> Iterator[str]:
    """The strings that an annotation lists, at any depth but inside objects."""
    if get_origin(annotation) is Literal:
        yield from (value for value in get_args(annotation) if isinstance(value, str))
    else:
        for part in get_args(annotation):
            yield from _literals(part)
