"""Limits of schemas: nesting, references that multiply, long patterns."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest

from shared.json_schema.errors import UnsupportedSchemaError
from shared.json_schema.normal_form import normal_form
from tests.json_schema.schemas import Schema

DIGIT = {"type": "integer", "minimum": 0, "maximum": 9}


@pytest.mark.slow
def test_a_chain_of_moved_references_takes_no_stack() -> None:
    links = {str(i): {"items": {"$ref": f"#/components/{i + 1}"}} for i in range(5000)}
    schema = {"$ref": "#/components/0", "components": {**links, "5000": DIGIT}}

    form = normal_form(schema)

    assert len(form["$defs"]["moved"]) == 5001


def test_what_is_shared_is_written_once() -> None:
    large = {"type": "object", "properties": {f"p{i}": DIGIT for i in range(500)}}
    names = [f"n{i}" for i in range(500)]
    schema = {"type": "object", "propertyNames": {"enum": names}, "additionalProperties": large}

    assert len(json.dumps(normal_form(schema))) < 3 * len(json.dumps(schema))


def test_references_to_parts_of_each_other_copy_each_part_once() -> None:
    inner: Schema = {"enum": list(range(1500))}
    for _ in range(150):
        inner = {"items": {"anyOf": [inner, *[True] * 10]}}
    references = [{"$ref": "#/x" + "/items/anyOf/0" * i} for i in range(150)]
    schema = {"x": inner, "anyOf": references}

    form = normal_form(schema)

    assert len(form["$defs"]["moved"]) == 150
    assert len(json.dumps(form)) < 3 * len(json.dumps(schema))


def test_nesting_has_an_end() -> None:
    schema: Schema = {}
    for _ in range(2000):
        schema = {"items": schema}

    with pytest.raises(UnsupportedSchemaError, match="nested too deeply"):
        normal_form(schema)


NAMES: Schema = {str(i): {} for i in range(2000)}


@pytest.mark.slow
@pytest.mark.sweep(1)
@pytest.mark.parametrize(
    "schema",
    [
        {
            "$defs": {
                str(i): {
                    "anyOf": [{"$ref": f"#/$defs/{i + 1}"}, {"$ref": f"#/$defs/{i + 2}"}],
                    "type": "object",
                    "properties": {"a": {}},
                }
                for i in range(5000)
            },
            "oneOf": [{"$ref": f"#/$defs/{i}"} for i in range(5000)],
        },
        {
            "$defs": {"e": {"enum": list(NAMES)}},
            "anyOf": [{"propertyNames": {"$ref": "#/$defs/e"}} for _ in range(2000)],
        },
        {
            "$defs": {"e": {"properties": NAMES}},
            "anyOf": [{"$ref": "#/$defs/e", "unevaluatedProperties": False} for _ in range(2000)],
        },
    ],
    ids=["unions of unions", "names", "unevaluated"],
)
def test_schemas_that_multiply_are_refused(schema: Schema) -> None:
    with pytest.raises(UnsupportedSchemaError, match=r"refers to too much|'oneOf' at #"):
        normal_form(schema)


@pytest.mark.sweep(1)
@pytest.mark.parametrize(
    "pattern",
    [
        "^" + "(?=a)" * 20_000,
        "\\p{" * 20_000,
        "[" * 50_000,
        "(" * 50_000,
        "{1" * 50_000,
        "^(?=" * 20_000,
    ],
    ids=lambda pattern: pattern[:9],
)
def test_long_patterns_are_looked_at_once(pattern: str) -> None:
    """Time in proportion to the square of their length would be minutes."""
    with suppress(UnsupportedSchemaError):
        normal_form({"pattern": pattern})
