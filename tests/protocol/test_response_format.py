"""The many spellings of ``response_format``: each is followed or refused, none is passed over."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from shared.protocol.errors import APIError
from shared.protocol.response_format import ResponseFormat
from shared.protocol.validation_errors import from_validation_error

PLACE = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WRAPPED = {"name": "place", "schema": PLACE}
ANY_OBJECT = {"type": "object"}


def parsed(form: object) -> ResponseFormat:
    return ResponseFormat.model_validate(form)


def error_of(form: object) -> APIError:
    with pytest.raises(ValidationError) as caught:
        ResponseFormat.model_validate(form)
    return from_validation_error(caught.value, form)


@pytest.mark.parametrize(
    ("form", "schema"),
    [
        ({"type": "text"}, None),
        ({"type": "text", "json_schema": None, "schema": None}, None),
        ({"type": "json_object"}, ANY_OBJECT),
        ({"type": "json_object", "schema": None, "json_schema": None}, ANY_OBJECT),
        ({"type": "json_object", "schema": {}}, ANY_OBJECT),
        ({"type": "json_object", "schema": PLACE}, PLACE),
        ({"type": "json_object", "json_schema": WRAPPED}, PLACE),
        ({"type": "json_object", "json_schema": {"name": "place"}}, ANY_OBJECT),
        ({"type": "json_schema", "json_schema": WRAPPED}, PLACE),
        ({"type": "json_schema", "json_schema": {**WRAPPED, "strict": False}}, PLACE),
        ({"type": "json_schema", "json_schema": WRAPPED, "strict": True}, PLACE),
        ({"type": "json_schema", "json_schema": WRAPPED, "name": "place"}, PLACE),
        ({"type": "json_schema", "json_schema": {"name": "place", "schema": {}}}, {}),
        ({"type": "json_schema", "json_schema": {"name": "place", "schema": None}}, {}),
        ({"type": "json_schema", "json_schema": WRAPPED, "schema": None}, PLACE),
    ],
    ids=json.dumps,
)
def test_these_are_followed(form: dict[str, Any], schema: dict[str, Any] | None) -> None:
    source = parsed(form).schema_source()

    assert (source and source[0]) == schema


@pytest.mark.parametrize(
    ("form", "param", "phrase"),
    [
        ({}, "type", "Missing"),
        ({"type": None}, "type", "'json_schema'"),
        ({"type": "json_schema"}, "json_schema", "Missing"),
        ({"type": "json_schema", "json_schema": None}, "json_schema", "Missing"),
        ({"type": "json_schema", "schema": PLACE}, "json_schema", "Missing"),
        ({"type": "json_schema", "json_schema": WRAPPED, "schema": PLACE}, None, "one of them"),
        ({"type": "json_object", "json_schema": WRAPPED, "schema": {}}, None, "one of them"),
        ({"type": "json_object", "json_schema": PLACE}, "json_schema.name", "Missing"),
        ({"type": "json_object", "json_schema": "{}"}, "json_schema", "object"),
        ({"type": "json_schema", "json_schema": {"name": "x", **PLACE}}, "json_schema", "'type'"),
        ({"type": "json_schema", "json_schema": {"name": "x", "shema": PLACE}}, None, "'shema'"),
        ({"type": "text", "json_schema": WRAPPED}, None, "with 'json_schema' the type is"),
        ({"type": "text", "schema": {}}, None, "with 'schema' the type is"),
        ({"type": "json_object", "value": PLACE}, None, "'value'"),
        ({"type": "text", "grammar": "root ::= [a]"}, None, "'grammar'"),
        ({"type": "json_object", "pattern": "a+"}, None, "'pattern'"),
        ({"type": "json_object", "jsonSchema": WRAPPED}, None, "'jsonSchema'"),
        ({"type": "json", "value": PLACE}, "type", "'regex' and 'grammar'"),
        ({"type": "regex", "pattern": "a+"}, "type", "'regex' and 'grammar'"),
        ({"type": "grammar", "grammar": "root ::= [a]"}, "type", "'regex' and 'grammar'"),
        ({"type": "structural_tag", "structures": [], "triggers": []}, "type", "'grammar'"),
        ({"type": "JSON_OBJECT"}, "type", "'json_object'"),
        ("json_object", None, "object"),
        ([PLACE], None, "object"),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_these_are_refused(form: object, param: str | None, phrase: str) -> None:
    error = error_of(form)

    assert phrase in error.message
    if param is not None:
        assert error.param == param
