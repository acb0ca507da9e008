"""Keywords about an object's properties that others say as well: names, counts, what is left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shared.json_schema.errors import Path, UnsupportedSchemaError
from shared.json_schema.facts import UNIONS, Facts, list_in

_NAME_FORMATS = {
    "uuid": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
    "date": "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$",
}
"""For names there are patterns only."""


def follow_property_names(
    schema: dict[str, Any], path: Path, facts: Facts, share: Callable[[Any], Any]
) -> None:
    """Say ``propertyNames`` with ``properties``, or with ``patternProperties``.

    ``share`` makes a schema fit for several places. Raises `UnsupportedSchemaError`.
    """
    names = schema.pop("propertyNames")
    if names is True or names == {}:
        return
    values = facts.values(names, "string")
    if values is None and (pattern := _name_pattern(facts.facets(names), path)) is None:
        return
    if "string" not in facts.types(names) or "patternProperties" in schema:
        raise UnsupportedSchemaError(path, "propertyNames", "can't be followed")
    declared = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    schema["additionalProperties"] = False
    if values is None:
        if declared:
            raise UnsupportedSchemaError(
                path, "propertyNames", "can't be followed beside 'properties'"
            )
        schema["patternProperties"] = {pattern: others}
        return
    shared = share(others)
    allowed = facts.strings(names)
    facts.spend(3 * len(allowed))
    schema["properties"] = {name: declared[name] for name in declared if name in allowed} | {
        name: shared for name in allowed if name not in declared
    }


def _name_pattern(facets: list[dict[str, Any]], path: Path) -> str | None:
    """The one pattern that names match; None where they may be any text."""
    patterns: list[str] = []
    for facet in facets:
        if unknown := facet.keys() - {*("type", "$ref", "allOf", "pattern", "format")} - _LENGTHS:
            reason = f"can't be followed, for its '{min(unknown)}'"
            raise UnsupportedSchemaError(path, "propertyNames", reason)
        if "pattern" in facet:
            patterns.append(facet["pattern"])
        if "format" in facet:
            if facet["format"] not in _NAME_FORMATS:
                reason = f"can't be followed, for its format '{facet['format']}'"
                raise UnsupportedSchemaError(path, "propertyNames", reason)
            patterns.append(_NAME_FORMATS[facet["format"]])
        if _LENGTHS & facet.keys():
            least, most = facet.get("minLength", 0), facet.get("maxLength", "")
            patterns.append(rf"^[\s\S]{{{least},{most}}}$")
    if len(patterns) > 1:
        raise UnsupportedSchemaError(path, "propertyNames", "can't be followed: use one pattern")
    return patterns[0] if patterns else None


_LENGTHS = frozenset({"minLength", "maxLength"})


def close_unevaluated(schema: dict[str, Any], path: Path, facts: Facts) -> None:
    """Say ``unevaluatedProperties`` with ``additionalProperties``.

    That goes where it is certain what else speaks of properties. Raises `UnsupportedSchemaError`.
    """
    others = schema.pop("unevaluatedProperties")
    if others is True or others == {}:
        return
    facets = facts.facets(schema)
    for facet in facets:
        if "additionalProperties" in facet or "unevaluatedProperties" in facet:
            return  # which speaks of all of them
        is_known = "$ref" not in facet or facts.target(facet["$ref"]) is not None
        if not is_known or any(keyword in facet for keyword in UNIONS):
            raise UnsupportedSchemaError(
                path, "unevaluatedProperties", "can't be followed: use 'additionalProperties'"
            )
    for keyword in ("properties", "patternProperties"):
        names: dict[str, Any] = {}
        for facet in facets[1:]:
            declared = facet.get(keyword)
            if isinstance(declared, Mapping):
                facts.spend(len(declared))
                names |= dict.fromkeys(declared, True)
        facts.spend(3 * len(names))
        if names or keyword in schema:
            schema[keyword] = {**names, **schema.get(keyword, {})}
    schema["additionalProperties"] = others


def simplify_counts(schema: dict[str, Any], path: Path) -> None:
    """Leave out ``minProperties`` and ``maxProperties`` that say nothing.

    Raises `UnsupportedSchemaError` where they can't be followed: names that are free may repeat,
    and of declared ones a choice of some is followed only where it is of one.
    """
    if "minProperties" not in schema and "maxProperties" not in schema:
        return
    required = {name for name in list_in(schema, "required") if isinstance(name, str)}
    optional = schema.get("properties", {}).keys() - required
    is_closed = schema.get("additionalProperties") is False and "patternProperties" not in schema
    least, most = schema.get("minProperties"), schema.get("maxProperties")
    if least is not None and least <= len(required):
        del schema["minProperties"]
        least = None
    if most is not None and is_closed and most >= len(required) + len(optional):
        del schema["maxProperties"]
        most = None
    if least is not None and least > len(required) + 1:
        reason = "can't be followed: of what is not required at most one can be asked for"
        raise UnsupportedSchemaError(path, "minProperties", reason)
    if optional and not (is_closed and most in (None, len(required) + 1)):
        keyword = "minProperties" if least is not None else "maxProperties"
        if keyword in schema:
            reason = "can't be followed beside properties that are not required"
            raise UnsupportedSchemaError(path, keyword, reason)
