"""What a schema says of its values, seen through ``$ref``, ``allOf`` and unions.

Every answer is careful: types that a value may have, values that it may be, never fewer than there
are. What is looked up is kept, so that many schemas may refer to one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any
from urllib.parse import unquote

from shared.json_schema.errors import UnsupportedSchemaError

ALL_TYPES = frozenset({"null", "boolean", "number", "string", "array", "object"})
UNIONS = ("anyOf", "oneOf")
_MOST_FACETS = 64
_MOST_WORK = 300_000
"""Some seconds' worth at most."""
_DEEPEST = 8
"""Unions within unions."""


class Facts:
    """Facts on schemas within one root. Schemas are objects that live and stay as long."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._work = 0
        self._facets: dict[int, list[dict[str, Any]]] = {}
        self._types: dict[int, frozenset[str]] = {}
        self._values: dict[tuple[int, str], frozenset[str] | None] = {}
        self._properties: dict[tuple[int, str], Any] = {}
        self._made: list[object] = []  # kept alive, since their ids are keys

    def spend(self, work: int) -> None:
        """Raise `UnsupportedSchemaError` where looking at the schema would take a second or more.

        Schemas that refer to each other in many ways can be small and yet have much to look at.
        """
        self._work += work
        if self._work > _MOST_WORK:
            raise UnsupportedSchemaError(None, "schema", "refers to too much in too many places")

    def target(self, reference: object) -> Any:
        """What a ``$ref`` to a place within the root refers to; None where it leads elsewhere."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        return at_pointer(self._root, reference)

    def referred(self, schema: Any) -> Any:
        """What a schema that is nothing but a ``$ref`` refers to; any other one itself."""
        is_reference = isinstance(schema, dict) and schema.keys() == {"$ref"}
        target = self.target(schema["$ref"]) if is_reference else None
        return schema if target is None else target

    def facets(self, schema: Any) -> list[dict[str, Any]]:
        """Schemas that all hold for a value of ``schema``: itself, its ``$ref``, its ``allOf``."""
        if (known := self._facets.get(id(schema))) is not None:
            self.spend(len(known))
            return known
        found: list[dict[str, Any]] = []
        waiting, seen = [schema], set()
        while waiting and len(found) < _MOST_FACETS:
            facet = waiting.pop()
            if isinstance(facet, dict) and id(facet) not in seen:
                seen.add(id(facet))
                found.append(facet)
                waiting += reversed(list_in(facet, "allOf"))
                waiting.append(self.target(facet.get("$ref")))
        self.spend(2 * len(found) + 1)
        self._facets[id(schema)] = found
        return found

    def types(self, schema: Any, depth: int = 0) -> frozenset[str]:
        """JSON types of which a value may be; an integer is a number."""
        if schema is False:
            return frozenset()
        if (known := self._types.get(id(schema))) is not None:
            return known
        self._types[id(schema)] = types = ALL_TYPES  # for what refers to itself
        for facet in self.facets(schema):
            if isinstance(named := facet.get("type"), str | list):
                names = [named] if isinstance(named, str) else named
                types &= {"number" if name == "integer" else str(name) for name in names}
            if "const" in facet:
                types &= {type_of(facet["const"])}
            if isinstance(facet.get("enum"), list):
                types &= {type_of(value) for value in facet["enum"]}
            for options in _unions(facet):
                if depth < _DEEPEST:
                    types &= frozenset[str]().union(*(self.types(o, depth + 1) for o in options))
        self._types[id(schema)] = types
        return types

    def values(self, schema: Any, type: str, depth: int = 0) -> frozenset[str] | None:
        """The only values of ``type``, as JSON; None where there may be any number of them."""
        if type == "null":
            return frozenset({"null"})
        key = (id(schema), type)
        if key not in self._values:
            self._values[key] = None  # for what refers to itself
            self._values[key] = self._find_values(schema, type, depth)
        return self._values[key]

    def _find_values(self, schema: Any, type: str, depth: int) -> frozenset[str] | None:
        for facet in self.facets(schema):
            listed = [facet["const"]] if "const" in facet else facet.get("enum")
            if isinstance(listed, list):
                return frozenset(_spelled(value) for value in listed if type_of(value) == type)
            for options in _unions(facet):
                inner = [self.values(o, type, depth + 1) for o in options if depth < _DEEPEST]
                if inner and None not in inner:
                    return frozenset[str]().union(*(values for values in inner if values))
        return frozenset({"true", "false"}) if type == "boolean" else None

    def strings(self, schema: Any) -> list[str]:
        """`values` of strings, as they are, in alphabetical order."""
        return [json.loads(value) for value in sorted(self.values(schema, "string") or ())]

    def property(self, schema: Any, name: str, depth: int = 0) -> Any:
        """A schema that holds for an object's property; None where there is none by that name."""
        key = (id(schema), name)
        if key not in self._properties:
            self._properties[key] = None  # for what refers to itself
            self._properties[key] = self._find_property(schema, name, depth)
        return self._properties[key]

    def _find_property(self, schema: Any, name: str, depth: int) -> Any:
        found: list[Any] = []
        for facet in self.facets(schema):
            properties = facet.get("properties")
            if isinstance(properties, Mapping) and name in properties:
                found.append(properties[name])
            for options in _unions(facet):
                inner = [self.property(o, name, depth + 1) for o in options if depth < _DEEPEST]
                if inner and None not in inner:
                    found.append(self._kept({"anyOf": inner}))
        if len(found) < 2:
            return found[0] if found else None
        return self._kept({"allOf": found})

    def _kept(self, schema: dict[str, Any]) -> dict[str, Any]:
        self._made.append(schema)
        return schema

    def property_names(self, schema: Any, most: int) -> list[str]:
        """Properties that a schema, or the first option of its union, declares: some, in order."""
        names: dict[str, None] = {}
        for facet in self.facets(schema):
            inner = [options[0] for options in _unions(facet)]
            for declaring in (facet, *(f for option in inner for f in self.facets(option))):
                properties = declaring.get("properties")
                if isinstance(properties, Mapping):
                    names |= dict.fromkeys(islice(properties, most))
        self.spend(len(names))
        return list(names)[:most]


def at_pointer(root: Any, reference: str) -> Any:
    """What is at a JSON pointer in a URI, ``#/a/b``; None for nothing."""
    at = root
    for part in unquote(reference[1:]).split("/")[1:]:
        step = part.replace("~1", "/").replace("~0", "~")
        if isinstance(at, Mapping) and step in at:
            at = at[step]
        elif isinstance(at, list) and step.isdecimal() and int(step) < len(at):
            at = at[int(step)]
        else:
            return None
    return at if reference.startswith("#/") or reference == "#" else None


def list_in(schema: Mapping[str, Any], keyword: str) -> list[Any]:
    """A keyword's list, empty where there is none."""
    value = schema.get(keyword)
    return value if isinstance(value, list) else []


def type_of(value: object) -> str:
    """The JSON type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _unions(facet: Mapping[str, Any]) -> Iterator[list[Any]]:
    for keyword in UNIONS:
        if options := list_in(facet, keyword):
            yield options


def _spelled(value: object) -> str:
    """JSON that is the same for equal values: 1 is 1.0, but not true."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True)
