"""JSON Schema's keywords: what is in them, and which can't be followed if they say anything.

Keywords that are not here are remarks, which forbid nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.json_schema.errors import Path, UnsupportedSchemaError
from shared.json_schema.facts import ALL_TYPES

FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri")
)
"""Those that answers follow; the standard has all others, and these, as remarks."""

MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions"})
LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
SCHEMAS = frozenset({"items", "additionalItems", "additionalProperties"})
BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
PLAIN = frozenset(
    {
        *("type", "$ref", "$id", "$anchor", "required", "multipleOf"),
    }
)
COUNTS = frozenset(
    ("minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength")
)
_TYPES = ALL_TYPES | {"integer"}
UNFOLLOWED = {
    "uniqueItems": "can't be followed: items may repeat",
    "not": "can't be followed, except as {} for nothing at all",
    "contains": "can't be followed",
    "if": "can't be followed: use 'anyOf' with an object for each case",
    "dependentRequired": "can't be followed: use 'anyOf' with an object for each case",
    "dependentSchemas": "can't be followed: use 'anyOf' with an object for each case",
    "dependencies": "can't be followed: use 'anyOf' with an object for each case",
    "unevaluatedItems": "can't be followed: use 'items'",
    "$dynamicRef": "can't be followed: use '$ref'",
    "$recursiveRef": "can't be followed: use '$ref'",
    "extends": "can't be followed: use 'allOf'",
    "disallow": "can't be followed",
    "divisibleBy": "can't be followed: use 'multipleOf'",
}
LOCATIONS = MAPS | LISTS | SCHEMAS
"""Where references find schemas without help."""


def check_plain(keyword: str, value: Any, path: Path) -> None:
    """Raise `UnsupportedSchemaError` for a value that says nothing that could be followed."""
    if keyword == "type":
        for name in value if isinstance(value, list) else [value]:
            if not isinstance(name, str) or name not in _TYPES:
                raise UnsupportedSchemaError(path, keyword, f"is no type of JSON: {str(name)[:40]}")
    elif keyword == "required" and not isinstance(value, list):
        raise UnsupportedSchemaError(path, keyword, "is no list of names")
    elif keyword == "multipleOf" and not (isinstance(value, int | float) and value > 0):
        raise UnsupportedSchemaError(path, keyword, "is no number above 0")


def count(schema: Mapping[str, Any], keyword: str, path: Path) -> int:
    """A number of items, fields or characters, which may be written as 3.0.

    Raises `UnsupportedSchemaError`.
    """
    value = schema[keyword]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise UnsupportedSchemaError(path, keyword, "is no integer")
    return value


def says_something(schema: Mapping[str, Any], keyword: str, value: Any) -> bool:
    """Whether a keyword that can't be followed forbids anything."""
    if keyword == "uniqueItems":
        most = schema.get("maxItems")
        return value is not False and not (isinstance(most, int) and most <= 1)
    if keyword == "if":
        return "then" in schema or "else" in schema
    if keyword in ("dependentRequired", "dependentSchemas", "dependencies"):
        return not isinstance(value, Mapping) or any(
            inner not in ([], {}, True) for inner in value.values()
        )
    if keyword == "contains":
        return schema.get("minContains") != 0 or "maxContains" in schema
    if keyword == "unevaluatedItems":
        return value is not True and value != {} and isinstance(schema.get("items", []), list)
    return True
