"""Base model of requests: strict validation, and the extra-field policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

_SCALARS = frozenset({str, int, float, bool, type(None)})

MISSING_FIELD = "missing_field"
"""The type of errors that `missing_field` makes."""


def Items(most: int, *, least: int | None = None) -> Any:
    """How many items an array or a map may have. The first wrong one is the last looked at.

    Every array and map of a request has it: what a caller sends wrong must not cost more than what
    is right, and pydantic makes half a kilobyte of each complaint.
    """
    return Field(min_length=least, max_length=most, fail_fast=True)


Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Items(16)
]
"""A completion's metadata, and what completions are filtered by."""


class Strict(BaseModel):
    """JSON types are taken at their word: the string "1" is no number, 1.5 no integer.

    Unknown fields are kept, to be named in the response header ``x-ignored-params``.
    """

    model_config = ConfigDict(
        defer_build=True,
        strict=True,
        allow_inf_nan=False,
        serialize_by_alias=True,
        extra="allow",
        protected_namespaces=(),
    )

    passes_unknown_fields: ClassVar[bool] = False
    """Whether the chat template gets them, so that they may have an effect."""

    def is_passed(self, name: str) -> bool:  # noqa: ARG002
        """Whether the field ``name``, which is none of the model's, may have an effect."""
        return self.passes_unknown_fields

    def declared(self, name: str) -> Any:
        """The field ``name``; None where the schema has none, whatever a caller puts there."""
        return self.__dict__.get(name)

    def known_fields(self) -> dict[str, Any]:
        """The fields as JSON has them, without nulls and what `unknown_fields` names."""
        extra = self.__pydantic_extra__ or {}
        known = {self._spelled(name): _as_json(value) for name, value in self.__dict__.items()}
        known |= {name: value for name, value in extra.items() if self.is_passed(name)}
        return {name: value for name, value in known.items() if value is not None}

    def unknown_fields(self) -> Iterator[str]:
        """Where there are fields that nobody knows, in here and further inside."""
        if not self.passes_unknown_fields:
            yield from (name for name in self.__pydantic_extra__ or () if not self.is_passed(name))
        values = self.__dict__
        for name in self.__pydantic_fields_set__:
            value = values.get(name)
            if type(value) in _SCALARS:
                continue  # most are, and to ask what a model is takes a microsecond
            if isinstance(value, Strict):
                yield from (f"{self._spelled(name)}.{inner}" for inner in value.unknown_fields())
            elif isinstance(value, list) and value and isinstance(value[0], Strict):
                for i, item in enumerate(value):
                    if isinstance(item, Strict):
                        for inner in item.unknown_fields():
                            yield f"{self._spelled(name)}[{i}].{inner}"

    @classmethod
    def attributes(cls) -> dict[str, str]:
        """The names that callers know the fields by, and those of the attributes for them."""
        return {field.alias or name: name for name, field in cls.model_fields.items()}

    def _spelled(self, name: str) -> str:
        """The name that callers know a field by."""
        return type(self).model_fields[name].alias or name


def _as_json(value: Any) -> Any:
    if isinstance(value, Strict):
        return value.known_fields()
    if isinstance(value, list) and value and isinstance(value[0], Strict):
        return [_as_json(item) for item in value]
    return value


def missing_field(name: str) -> PydanticCustomError:
    """What a validator raises when the other fields ask for the field ``name``."""
    return PydanticCustomError(MISSING_FIELD, "it needs the field '{field}'", {"field": name})
