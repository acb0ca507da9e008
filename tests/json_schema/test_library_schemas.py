"""Schemas of libraries are accepted as they come, and what follows them validates."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest

from shared.engine.grammar.errors import ConstraintError
from tests.json_schema.random_text import Texts
from tests.json_schema.schemas import LIBRARY_SCHEMAS, Schema

REFUSED = {
    "pydantic: sets": "'uniqueItems' at #/properties/a can't be followed",
    "pydantic: frozen sets": "'uniqueItems' at #/properties/a can't be followed",
    "pydantic: mappings at least two": "'minProperties' at #/properties/a can't be followed",
    "zod-to-json-schema: set": "'uniqueItems' at #/properties/a can't be followed",
    "zod-to-json-schema: ip": "required property 'c' is unsatisfiable",  # IPv4 and IPv6 at once
}
RARELY_END = {
    "zod4: strings",
    "openai-node zod3: strings",
    "zod-to-json-schema: strings",
    "pydantic: recursive tagged union",
    "pydantic: recursive tagged union root",
    "zod4 openapi: linked",
    "zod-to-json-schema openApi3: linked",
}
"""Whoever writes at random finds no end: a string that ends with certain letters, a long tree."""
N_TEXTS = 6


def validator(schema: Schema) -> Any:
    """A validator for the draft that ``schema`` is of."""
    text = json.dumps(schema)
    if re.search(r'"exclusiveM\w+": true', text):
        return jsonschema.Draft4Validator(schema)
    if '"items": [' in text:
        return jsonschema.Draft7Validator(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.sweep(4)
@pytest.mark.parametrize("name", [name for name in LIBRARY_SCHEMAS if name not in REFUSED])
def test_what_follows_it_validates(name: str) -> None:
    schema = LIBRARY_SCHEMAS[name]
    texts = Texts(schema)

    written = [text for seed in range(N_TEXTS) if (text := texts.write(seed)) is not None]

    for text in written:
        try:
            errors = list(validator(schema).iter_errors(json.loads(text)))
        except re.error:  # Python has no \p{...}
            continue
        # Multiples of fractions are computed with binary ones, of which 0.59 / 0.01 is not whole.
        assert not [e for e in errors if not isinstance(e.validator_value, float)]
        assert {e.validator for e in errors} <= {"multipleOf"}
    assert written or name in RARELY_END


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_followed_is_named(name: str) -> None:
    with pytest.raises(ConstraintError, match=re.escape(REFUSED[name])):
        Texts(LIBRARY_SCHEMAS[name])
