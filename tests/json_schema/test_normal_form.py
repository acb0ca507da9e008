"""What says nothing is left out, what can be said otherwise is, and the rest is named."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest

from shared.json_schema.errors import UnsupportedSchemaError
from shared.json_schema.normal_form import normal_form
from tests.json_schema.random_text import Texts
from tests.json_schema.schemas import Schema

DIGIT = {"type": "integer", "minimum": 0, "maximum": 9}


SHORT = {"type": "string", "maxLength": 2}


def written(schema: Schema, n: int = 20) -> list[Any]:
    """Values that follow ``schema``."""
    grammar = Texts(schema)
    texts = [text for seed in range(n) if (text := grammar.write(seed)) is not None]
    assert texts
    return [json.loads(text) for text in texts]


@pytest.mark.parametrize(
    "remark",
    [
        {"title": "T", "description": "d", "default": None, "examples": [1], "$comment": "c"},
        {"deprecated": True, "readOnly": True, "writeOnly": False, "nullable": True},
        {"discriminator": {"propertyName": "a"}, "xml": {}, "externalDocs": {}, "example": 1},
        {"contentEncoding": "base64", "contentMediaType": "text/plain", "contentSchema": {}},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "$vocabulary": {}},
        {"$schema": "https://example.com/of-my-own", "x-mine": {"not": {}}, "enumNames": ["A"]},
        {"x-guidance": {"lenient": True}, "markdownDescription": "d", "tsType": "T"},
        {"uniqueItems": False, "propertyNames": {"type": "string"}, "not": False},
        {"propertyNames": True, "unevaluatedProperties": True, "unevaluatedItems": {}},
        {"if": {"type": "null"}},
        {"then": False, "else": False, "minContains": 3, "maxContains": 4},
        {"contains": {"type": "null"}, "minContains": 0},
        {"dependentRequired": {}, "dependentSchemas": {"a": {}}, "dependencies": {"a": []}},
        {"minProperties": 0, "minItems": 0, "minLength": 0},
        {"format": "password"},
        {"format": "starts_with"},
        {"format": 3},
    ],
    ids=json.dumps,
)
def test_what_says_nothing_is_accepted_wherever_it_is(remark: Schema) -> None:
    plain = {"type": "object", "properties": {"a": DIGIT}, "required": ["a"]}
    schema = {
        **remark,
        **{
            **plain,
            "properties": {"a": {**DIGIT, **remark}, "b": {"anyOf": [{**SHORT, **remark}]}},
        },
        "additionalProperties": False,
    }

    grammar = Texts(schema)

    assert grammar.allows('{"a": 1}')
    assert grammar.allows('{"a": 1, "b": "xy"}')
    assert not grammar.allows('{"a": 10}')


def test_names_of_properties_are_not_keywords() -> None:
    names = ["not", "title", "format", "$ref", "oneOf", "propertyNames", "type", "properties", ""]
    schema = {
        "type": "object",
        "properties": dict.fromkeys(names, DIGIT),
        "required": names,
        "additionalProperties": False,
        "default": {"not": {}},
        "const": dict.fromkeys(names, 1),
    }

    assert written(schema, 2) == [dict.fromkeys(names, 1)] * 2


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"not": {"type": "null"}}, "'not' at #"),
        ({"properties": {"a": {"uniqueItems": True}}}, "'uniqueItems' at #/properties/a"),
        ({"items": {"contains": {}}}, "'contains' at #/items"),
        ({"items": [{"if": {}, "then": False}]}, "'if' at #/items/0"),
        ({"$defs": {"a/b~": {"dependentRequired": {"a": ["b"]}}}}, "at #/$defs/a~1b~0"),
        ({"anyOf": [True, {"dependentSchemas": {"a": False}}]}, "'dependentSchemas' at #/anyOf/1"),
        ({"allOf": [{"dependencies": {"a": ["b"]}}]}, "'dependencies' at #/allOf/0"),
        ({"unevaluatedItems": False}, "'unevaluatedItems' at #"),
        ({"$dynamicRef": "#a"}, "'$dynamicRef' at #"),
        ({"$recursiveRef": "#"}, "'$recursiveRef' at #"),
        ({"type": "sting"}, "'type' at # is no type of JSON: sting"),
        ({"type": ["string", None]}, "'type' at # is no type of JSON: None"),
        ({"properties": []}, "'properties' at # has the wrong type"),
        ({"properties": {"a": {"required": True}}}, "'required' at #/properties/a"),
        ({"properties": {"a": "string"}}, "'schema' at #/properties/a is no object"),
        ({"properties": {"a": None}}, "'schema' at #/properties/a is no object"),
        ({"multipleOf": 0}, "'multipleOf' at #"),
        ({"minimum": "1"}, "'minimum' at # is no number"),
        ({"minimum": 10**400}, "'minimum' at # is out of range"),
        ({"type": "number", "minimum": 1e30}, "'minimum' at # is out of range"),
        ({"const": 2**53 + 1}, "'const' at # has a number"),
        ({"enum": [1, [{"a": 1e30}]]}, "'enum' at # has a number"),
        ({"pattern": "a(?!b)"}, "'pattern' at # can't be followed: look-ahead"),
        ({"patternProperties": {"(?<!a)b": {}}}, "'patternProperties' at # can't"),
        ({"propertyNames": {"maxLength": 3}, "properties": {"a": {}}}, "'propertyNames' at #"),
        ({"propertyNames": {"minLength": 1, "pattern": "a"}}, "'propertyNames' at #"),
        ({"propertyNames": {"format": "email"}}, "'propertyNames' at #"),
        ({"propertyNames": {"anyOf": [{"pattern": "a"}]}}, "'propertyNames' at #"),
        ({"minProperties": 2}, "'minProperties' at #"),
        ({"minProperties": 1, "properties": {"a": {}}}, "'minProperties' at #"),
        ({"maxProperties": 1, "properties": {"a": {}}}, "'maxProperties' at #"),
        ({"anyOf": [{}], "unevaluatedProperties": False}, "'unevaluatedProperties' at #"),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_what_can_not_be_followed_is_named_with_its_place(schema: Schema, place: str) -> None:
    with pytest.raises(UnsupportedSchemaError, match=re.escape(place)):
        normal_form(schema)


@pytest.mark.sweep(7)
@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": DIGIT, "maxItems": 1, "uniqueItems": True},
        {"type": "object", "properties": {"a": {"not": {}}, "b": DIGIT}, "required": ["b"]},
        {"anyOf": [{"not": {}}, SHORT]},
        {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
        {"type": "integer", "minimum": 2**53 + 1, "maximum": 2**53 + 7},
        {"type": "number", "minimum": -1.7976931348623157e308, "maximum": 1.7976931348623157e308},
        {"type": "number", "minimum": -3.4028234663852886e38, "maximum": 3.4028234663852886e38},
        {"type": ["number", "null"], "exclusiveMaximum": 10**30, "minimum": 5},
        {"type": "object", "propertyNames": {"enum": ["x", "y"]}, "additionalProperties": DIGIT},
        {
            "type": "object",
            "properties": {"y": SHORT, "z": DIGIT},
            "propertyNames": {"$ref": "#/$defs/name"},
            "additionalProperties": {"type": "array", "items": DIGIT, "maxItems": 2},
            "required": ["x"],
            "$defs": {"name": {"anyOf": [{"const": "x"}, {"enum": ["y", "w"]}]}},
        },
        {
            "type": "object",
            "propertyNames": {"pattern": "^[a-c]{1,2}$"},
            "additionalProperties": DIGIT,
            "maxProperties": 3,
        },
        {"type": "object", "propertyNames": {"minLength": 1, "maxLength": 3}, "maxProperties": 2},
        {"type": "object", "propertyNames": {"format": "uuid"}, "maxProperties": 1},
        {"type": "object", "propertyNames": {"format": "date"}, "maxProperties": 1},
        {"type": "object", "patternProperties": {r"^\Wx$": DIGIT}, "additionalProperties": False},
        {
            "type": "object",
            "properties": {"a": DIGIT},
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {"a": DIGIT, "b": SHORT},
            "required": ["a"],
            "minProperties": 1,
            "maxProperties": 2,
            "additionalProperties": False,
        },
        {
            "allOf": [{"properties": {"a": DIGIT}, "required": ["a"]}, {"$ref": "#/$defs/b"}],
            "$defs": {"b": {"properties": {"b": SHORT}, "patternProperties": {"^c": DIGIT}}},
            "type": "object",
            "properties": {"d": {"type": "null"}},
            "unevaluatedProperties": False,
        },
        {
            "allOf": [{"properties": {"a": DIGIT}, "additionalProperties": SHORT}],
            "type": "object",
            "unevaluatedProperties": False,
        },
        {"type": "object", "properties": {"a": DIGIT}, "unevaluatedProperties": DIGIT},
        {
            "type": "object",
            "properties": {"b": DIGIT},
            "propertyNames": {"enum": ["a", "b"]},
            "unevaluatedProperties": False,
        },
        {
            "$ref": "#/components/schemas/a~1b",
            "components": {
                "schemas": {
                    "a/b": {
                        "type": "object",
                        "properties": {"next": {"$ref": "#/components/schemas/a~1b"}, "c": True},
                        "required": ["c"],
                        "additionalProperties": False,
                        "title": "x",
                    }
                }
            },
        },
        {
            "$id": "https://example.com/root.json",
            "properties": {"a": {"$ref": "#/$defs/one%20two"}, "b": {"$ref": "#three"}},
            "type": "object",
            "$defs": {"one two": DIGIT, "t": {"$anchor": "three", "type": "null"}, "moved": {}},
            "required": ["a", "b"],
            "additionalProperties": False,
        },
        {
            "$defs": {
                "n": {
                    "type": "object",
                    "nullable": True,
                    "properties": {"n": {"$ref": "#/$defs/n", "nullable": True}},
                }
            },
            "$ref": "#/$defs/n",
            "x-y": 1,
        },
        {
            "type": "string",
            "pattern": "^(?=.*a).{2,3}$",
            "allOf": [{"pattern": "b"}, {"maxLength": 5}],
        },
        {
            "oneOf": [{"const": "a"}, {"const": 1}],
            "anyOf": [{"type": "integer"}, SHORT],
            "allOf": [{"enum": ["a", "b"]}],
        },
        *(
            {"$ref": f"#/$defs/{spelled}", "$defs": {name: DIGIT}}
            for name, spelled in (
                ("a b", "a b"),
                ("List[int]", "List[int]"),
                ("A<B>", "A%3CB%3E"),
                ("ü", "ü"),
                ("a/b~", "a~1b~0"),
                ("%", "%25"),
            )
        ),
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "definitions": {"a": {"$id": "#a", **DIGIT}},
            "$ref": "#a",
        },
        {"$id": "https://a.b/c", "$ref": "https://a.b/c#/$defs/x", "$defs": {"x": DIGIT}},
        {"type": "array", "prefixItems": [DIGIT, SHORT], "items": False},
        {"type": "array", "items": [DIGIT, SHORT], "additionalItems": False, "minItems": 1},
        {"enum": [None, 1, "a", 1.5, True, {"a": [None]}]},
        {"type": ["string", "null"], "enum": ["a", None]},
        {"const": None},
    ],
    ids=lambda schema: json.dumps(schema)[:70],
)
def test_what_can_be_said_otherwise_is_followed(schema: Schema) -> None:
    is_draft_7 = isinstance(schema.get("items"), list)
    default = jsonschema.Draft7Validator if is_draft_7 else jsonschema.Draft202012Validator
    draft = jsonschema.validators.validator_for(schema, default)

    for value in written(schema):
        draft(schema).validate(value)


def test_a_declared_property_is_not_written_again_with_other_letters() -> None:
    """A parser would take the later one, which nothing has looked at."""
    grammar = Texts({"type": "object", "properties": {"a": DIGIT}, "required": ["a"]})

    assert grammar.allows('{"a": 1, "b": "x"}')
    assert not grammar.allows('{"a": 1, "\\u0061": "x"}')
    assert Texts({"const": "\0"}).allows('"\\u0000"')


def test_the_order_of_properties_is_kept() -> None:
    names = ["b", "a", "d", "c"]
    schema = {
        "type": "object",
        "properties": dict.fromkeys(names, DIGIT),
        "required": ["a", *names],
    }

    (value, *_) = written({**schema, "additionalProperties": False}, 1)

    assert list(value) == names


def test_the_schema_is_left_as_it_is() -> None:
    schema = {
        "oneOf": [{"properties": {"k": {"const": i}}, "type": "object"} for i in range(2)],
        "unevaluatedProperties": True,
    }
    before = json.dumps(schema)

    normal_form(schema)

    assert json.dumps(schema) == before


COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")


@pytest.mark.parametrize("keyword", COUNTS)
def test_counts_may_be_written_as_numbers_with_a_point(keyword: str) -> None:
    kind = {"I": "array", "L": "string", "P": "object"}[keyword[3]]
    schema = {"type": kind, "additionalProperties": DIGIT}
    written, plain = ({**schema, keyword: value} for value in (1.0, 1))
    assert normal_form(written) == normal_form(plain)


@pytest.mark.parametrize("keyword", COUNTS)
@pytest.mark.parametrize("value", [2.5, "2", None, True, [2]])
def test_other_counts_are_refused_by_name(keyword: str, value: Any) -> None:
    kind = {"I": "array", "L": "string", "P": "object"}[keyword[3]]
    with pytest.raises(UnsupportedSchemaError, match=f"'{keyword}' at # is no integer"):
        normal_form({"type": kind, keyword: value})
