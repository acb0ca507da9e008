"""``oneOf`` is followed where its options can be told apart, and named where they can't."""

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


def tagged(tag: object, *required: str, name: str = "kind", **properties: Any) -> Schema:
    """An object of which ``name`` is the tag."""
    declared = {name: tag if isinstance(tag, dict) else {"const": tag}, **properties}
    return {"type": "object", "properties": declared, "required": list(required)}


DIGIT = {"type": "integer", "minimum": 0, "maximum": 9}
NODE = {
    "$defs": {
        "Add": tagged("add", "left", left={"$ref": "#/$defs/Any"}),
        "Leaf": tagged("leaf"),
        "Any": {
            "oneOf": [{"$ref": "#/$defs/Add"}, {"$ref": "#/$defs/Leaf"}],
            "discriminator": {"propertyName": "kind"},
        },
    },
    "$ref": "#/$defs/Any",
}


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    "schema",
    [
        {"oneOf": [{"type": "integer"}, {"type": "string", "maxLength": 3}, {"type": "null"}]},
        {"oneOf": [{"const": 1}, {"const": True}, {"const": "1"}, {"enum": [2, 3]}]},
        {"oneOf": [{"enum": ["a", "b"]}, {"enum": ["c", None]}]},
        {"oneOf": [tagged("a"), tagged("b")]},
        {"oneOf": [tagged("a", "kind"), tagged("b")]},
        {"oneOf": [tagged({"enum": ["a", "b"]}), tagged({"enum": ["c"]}), {"type": "null"}]},
        {"oneOf": [tagged({"type": "string", "maxLength": 2}), tagged({"type": "null"})]},
        {"oneOf": [{"$ref": "#/$defs/a"}, {"type": "null"}], "$defs": {"a": tagged("a")}},
        {
            "oneOf": [{"$ref": "#/$defs/a", "title": "A"}, {"allOf": [{"$ref": "#/$defs/b"}]}],
            "$defs": {"a": tagged("a"), "b": tagged({"$ref": "#/$defs/c"}), "c": {"const": "b"}},
        },
        {
            "oneOf": [{"oneOf": [tagged("a", x={"const": i}) for i in (1, 2)]}, tagged("b")],
        },
        {
            "anyOf": [tagged("a"), tagged("b")],
            "oneOf": [tagged({}, y={"const": 1}), tagged({}, y={"const": 2})],
        },
        NODE,
    ],
    ids=lambda schema: json.dumps(schema)[:70],
)
def test_options_that_differ_are_followed(schema: Schema) -> None:
    texts = Texts(schema)
    found = [text for seed in range(20) if (text := texts.write(seed)) is not None]

    assert found
    for text in found:
        jsonschema.Draft202012Validator(schema).validate(json.loads(text))


@pytest.mark.parametrize(
    "options",
    [
        [{"type": "integer"}, {"type": "number"}],
        [{"type": "string"}, {"const": "a"}],
        [{"const": 1}, {"const": 1.0}],
        [tagged("a"), tagged("a")],
        [tagged("a"), tagged({"enum": ["b", "a"]})],
        [tagged("a"), {"type": "object"}],
        [{"$ref": "#/$defs/unknown"}, {"type": "null"}],
        [{}, {"type": "null"}],
        [{"type": "array", "items": DIGIT}, {"type": "array"}],
    ],
    ids=lambda options: json.dumps(options)[:70],
)
def test_options_that_may_overlap_are_named(options: list[Schema]) -> None:
    schema = {"type": "object", "properties": {"pet": {"oneOf": options}}}

    with pytest.raises(UnsupportedSchemaError, match=re.escape("'oneOf' at #/properties/pet can")):
        normal_form(schema)


def test_a_tag_that_has_a_default_is_required() -> None:
    """Without it nobody could tell what the answer is, pydantic neither."""
    texts = Texts(
        {
            "oneOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}],
            "discriminator": {"propertyName": "kind", "mapping": {"a": "#/$defs/a"}},
            "$defs": {"a": tagged("a", "n", n=DIGIT), "b": tagged("b", "n", n=DIGIT)},
        }
    )

    assert texts.allows('{"kind": "b", "n": 1}')
    assert not texts.allows('{"n": 1}')


def test_many_unions_of_the_same_options_are_looked_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from shared.json_schema.facts import Facts

    asked = 0
    original = Facts.property

    def counted(self: Facts, *args: Any, **kwargs: Any) -> Any:
        nonlocal asked
        asked += 1
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Facts, "property", counted)
    union = {"oneOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}]}
    shared = {f"p{i}": DIGIT for i in range(30)}
    normal_form(
        {
            "$defs": {
                name: {"type": "object", "properties": {**shared, "kind": {"const": name}}}
                for name in "ab"
            },
            "properties": {str(i): dict(union) for i in range(300)},
        }
    )

    assert asked <= 31 * 2
