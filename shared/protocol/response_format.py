"""``response_format`` of a request, and llama.cpp's and vLLM's short forms of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from shared.protocol.strict import Strict, missing_field

MAX_FORM = 2**18
"""Characters of a grammar, and bytes of a schema's JSON: what takes longer to compile than most."""


def _check_length(source: object) -> object:
    if isinstance(source, str) and len(source) > MAX_FORM:
        raise PydanticCustomError(
            "unsupported_grammar",
            "it has {size} characters, more than the limit of {limit}",
            {"size": len(source), "limit": MAX_FORM},
        )
    return source


GrammarSource = Annotated[
    str, Field(min_length=1, max_length=MAX_FORM), BeforeValidator(_check_length)
]


def _check_size(schema: dict[str, Any]) -> dict[str, Any]:
    size = len(orjson.dumps(schema))
    if size > MAX_FORM:
        raise PydanticCustomError(
            "unsupported_schema",
            "the schema has {size} bytes as JSON, more than the limit of {limit}",
            {"size": size, "limit": MAX_FORM},
        )
    return schema


Schema = Annotated[dict[str, Any], AfterValidator(_check_size)]
"""A JSON Schema."""

_TYPES = ("text", "json_object", "json_schema")
_LABELS = frozenset({"name", "description"})


def _check_type(type: object) -> object:
    """Say where the forms are that other servers have as types: ``regex``, ``grammar``, ..."""
    if isinstance(type, str) and type not in _TYPES:
        raise PydanticCustomError(
            "choice",
            "Input should be 'text', 'json_object' or 'json_schema' "
            "(for other forms there are the request fields 'regex' and 'grammar')",
        )
    return type


class _Form(Strict):
    """What says how answers have to look: nothing in it that may be such a form is passed over.

    Numbers and flags are none, so unknown ones have no effect, as everywhere.
    """

    model_config = ConfigDict(populate_by_name=True)

    @model_validator(mode="after")
    def _refuse_unknown_forms(self) -> Self:
        for name, value in (self.__pydantic_extra__ or {}).items():
            if value and isinstance(value, str | list | dict) and name not in _LABELS:
                raise PydanticCustomError(
                    "unsupported_parameter",
                    "there is no field '{field}' in it, a schema belongs into 'json_schema.schema'",
                    {"field": name[:64]},
                )
        return self


class JSONSchemaFormat(_Form):
    """``response_format.json_schema``."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_\-]+$")]
    description: str | None = None
    json_schema: Schema | None = Field(default=None, alias="schema")
    strict: bool | None = Field(
        default=None, description="Accepted without effect: answers always follow the schema."
    )


class ResponseFormat(_Form):
    """``response_format``; ``schema`` beside ``json_object`` is llama-server's.

    Beside ``json_object`` a ``json_schema`` counts too: whoever sends one means it.
    """

    type: Annotated[Literal["text", "json_object", "json_schema"], BeforeValidator(_check_type)]
    json_schema: JSONSchemaFormat | None = None
    object_schema: Schema | None = Field(default=None, alias="schema")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.type == "json_schema" and self.json_schema is None:
            raise missing_field("json_schema")
        given = [
            name
            for name, value in (("json_schema", self.json_schema), ("schema", self.object_schema))
            if value is not None
        ]
        if len(given) > 1:
            raise PydanticCustomError(
                "contradiction", "'json_schema' and 'schema' are both given: send one of them"
            )
        if given and self.type == "text":
            raise PydanticCustomError(
                "contradiction",
                "answers of type 'text' follow no schema: with '{field}' the type is 'json_schema'",
                {"field": given[0]},
            )
        return self

    def schema_source(self) -> tuple[dict[str, Any], str] | None:
        """The schema that answers follow and the field that gives it, None for any text."""
        if self.type == "text":
            return None
        if self.json_schema is None:
            return self.object_schema or {"type": "object"}, "response_format.schema"
        schema = self.json_schema.json_schema
        if not schema and self.type == "json_object":
            schema = {"type": "object"}
        return schema or {}, "response_format.json_schema.schema"
