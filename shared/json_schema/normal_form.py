"""JSON Schemas as llguidance can follow them: what says nothing left out, the rest respelled.

Libraries write schemas for validators, which pass over what they don't know, for which ``format``
is a remark and ``oneOf`` a count. llguidance refuses, or misreads, some of that. The normal form
allows the same values or fewer, so what follows it validates against the schema as it came.

What can't be followed is named here, with its place, rather than by llguidance.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from shared.json_schema.errors import Path, UnsupportedSchemaError
from shared.json_schema.facts import Facts, at_pointer
from shared.json_schema.keywords import (
    BOUNDS,
    COUNTS,
    FORMATS,
    LISTS,
    LOCATIONS,
    MAPS,
    PLAIN,
    SCHEMAS,
    UNFOLLOWED,
    check_plain,
    count,
    says_something,
)
from shared.json_schema.numbers import bound, check_value
from shared.json_schema.patterns import PatternError, translated
from shared.json_schema.properties import (
    close_unevaluated,
    follow_property_names,
    simplify_counts,
)
from shared.json_schema.text import to_text
from shared.json_schema.unions import Unions

_ESCAPES = 'nrbtf\\"'
_NEEDS_NUMBERS = re.compile(r"\\u00[01]|\\\\[xuc0]|\x7f")
"""Control characters in a schema's JSON, or escapes in its patterns that may be some."""
_URI = "#%/:?&=~+,;@!$'()*"
"""What a reference may be spelled with; libraries leave other characters as they are, too."""
_MOST_SCHEMAS = 100_000
"""llguidance takes half as many."""


def normal_form(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema for llguidance that allows no value beyond ``schema``'s own.

    Its order of properties is kept. Takes time in proportion to the schema's size. Raises
    `UnsupportedSchemaError`.
    """
    try:
        return _Normalizer(schema).normalize()
    except RecursionError:
        raise UnsupportedSchemaError(None, "schema", "is nested too deeply") from None


def with_options(form: dict[str, Any], **style: Any) -> dict[str, Any]:
    """A normal form with llguidance's options: ``style`` says how JSON is spaced.

    Characters are escaped by their numbers only where the schema needs it: otherwise the name of a
    declared property could be written once more, with other letters, and another value.
    """
    escapes = _ESCAPES + ("u" if _NEEDS_NUMBERS.search(to_text(form)) else "")
    return {**form, "x-guidance": {**style, "json_allowed_escapes": escapes}}


class _Normalizer:
    """One schema on its way: first copied without what says nothing, then respelled in place."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._n_schemas = 0
        self._copies: list[tuple[dict[str, Any], Path, Mapping[str, Any]]] = []
        self._moved: dict[str, Any] = {}
        self._names: dict[str, str] = {}  # of what is moved, by the references to it
        self._moved_from: dict[int, str] = {}  # the same by the identity of the original
        self._container = "moved"
        while isinstance(taken := root.get("$defs"), Mapping) and self._container in taken:
            self._container += "_"
        self._place = f"#/$defs/{self._container}/"
        """Where those are that have to have a place."""

    def normalize(self) -> dict[str, Any]:
        """The normal form."""
        to_move = self._find_what_to_move()
        copy: dict[str, Any] | bool = self._copy(self._root, None)
        if isinstance(copy, bool):  # {"not": {}} allows nothing
            return {"allOf": [copy]}
        for name, target, path in to_move:
            self._moved_from.pop(id(target), None)
            self._moved[name] = self._copy(target, path)
            self._moved_from[id(target)] = name
        copy["$defs"] = {**copy.get("$defs", {}), self._container: self._moved}
        facts = Facts(copy)
        for schema, path, _ in self._copies:
            if "unevaluatedProperties" in schema:
                close_unevaluated(schema, path, facts)
        for schema, path, _ in self._copies:
            if "propertyNames" in schema:  # which declares names that nothing evaluates
                follow_property_names(schema, path, facts, self._share)
            simplify_counts(schema, path)
        unions = Unions(facts)
        for schema, path, original in self._copies:
            if "oneOf" in schema:
                _as_any_of(schema, path, unions, original.get("discriminator"))
        if not self._moved:
            del copy["$defs"][self._container]
        return copy

    def _copy(self, schema: Any, path: Path) -> Any:
        if isinstance(schema, bool):
            return schema
        if id(schema) in self._moved_from:
            return {"$ref": self._place + self._moved_from[id(schema)]}
        if not isinstance(schema, Mapping):
            what = "null" if schema is None else type(schema).__name__
            raise UnsupportedSchemaError(path, "schema", f"is no object but {what}")
        self._n_schemas += 1
        if self._n_schemas > _MOST_SCHEMAS:
            raise UnsupportedSchemaError(None, "schema", "is too large")
        copy: dict[str, Any] = {}
        for keyword, value in schema.items():
            at = (path, keyword)
            if keyword in MAPS and isinstance(value, Mapping):
                named = _patterns(value, at) if keyword == "patternProperties" else value
                copy[keyword] = {n: self._copy(s, (at, n)) for n, s in named.items()}
            elif isinstance(value, list) and (keyword in LISTS or keyword == "items"):
                copies = [self._copy(s, (at, i)) for i, s in enumerate(value)]
                copy[keyword] = [*copy.get(keyword, ()), *copies]
            elif keyword in SCHEMAS or keyword in ("propertyNames", "unevaluatedProperties"):
                copy[keyword] = self._copy(value, at)
            elif keyword == "not":
                if self._forbids_all(value, at):
                    return False
            elif keyword == "$ref" and isinstance(value, str):
                moved = self._names.get(value)
                copy[keyword] = quote(value, _URI) if moved is None else self._place + moved
            else:
                self._copy_plain(schema, keyword, value, copy, path)
        self._copies.append((copy, path, schema))
        return copy

    def _forbids_all(self, negated: Any, at: tuple[Path, str]) -> bool:
        """Whether a ``not`` forbids all; if not, it forbids nothing, or can't be followed."""
        inner = self._copy(negated, at)
        if inner is True or inner == {}:
            return True
        if inner is not False:
            raise UnsupportedSchemaError(*at, UNFOLLOWED["not"])
        return False

    def _copy_plain(
        self, schema: Mapping[str, Any], keyword: str, value: Any, copy: dict[str, Any], path: Path
    ) -> None:
        """Copy a keyword with no schema in it, unless it says nothing."""
        if keyword in MAPS or keyword in LISTS:
            raise UnsupportedSchemaError(path, keyword, "has the wrong type")
        if keyword == "$id":
            _copy_id(value, copy)
        elif keyword in PLAIN:
            check_plain(keyword, value, path)
            copy[keyword] = value
        elif keyword in COUNTS:
            copy[keyword] = count(schema, keyword, path)
        elif keyword in ("const", "enum"):
            check_value(value, path, keyword)
            copy[keyword] = value
        elif keyword in BOUNDS:
            copy[keyword] = bound(schema, keyword, path)
        elif keyword == "format":
            if value in FORMATS:
                copy[keyword] = value
        elif keyword == "pattern" and isinstance(value, str):
            copy[keyword], *others = _translated(value, path, keyword)
            if others:
                copy["allOf"] = [*copy.get("allOf", ()), *({"pattern": p} for p in others)]
        elif keyword in UNFOLLOWED and says_something(schema, keyword, value):
            raise UnsupportedSchemaError(path, keyword, UNFOLLOWED[keyword])

    def _find_what_to_move(self) -> list[tuple[str, Any, Path]]:
        """What references refer to in places that are left out, such as OpenAPI's ``components``.

        New name, original and its place. They are known before anything is copied, lest what they
        have inside be copied with each.
        """
        found: list[tuple[str, Any, Path]] = []
        waiting: list[Any] = [self._root]
        while waiting:
            value = waiting.pop()
            if isinstance(value, Mapping):
                waiting += value.values()
                reference = value.get("$ref")
                if isinstance(reference, str) and self._is_left_out(reference):
                    target, path = at_pointer(self._root, reference), _path(reference)
                    if target is not None and reference not in self._names:
                        if id(target) not in self._moved_from:
                            name = self._moved_from[id(target)] = self._new_name()
                            found.append((name, target, path))
                        self._names[reference] = self._moved_from[id(target)]
            elif isinstance(value, list):
                waiting += value
        return found

    def _is_left_out(self, reference: str) -> bool:
        first, _, _ = reference.removeprefix("#/").partition("/")
        return reference.startswith("#/") and first not in LOCATIONS and first in self._root

    def _share(self, schema: Any) -> Any:
        """A schema of which there will be several, as a reference to one."""
        if isinstance(schema, bool) or schema.keys() <= {"$ref", "type"}:
            return schema
        name = self._new_name()
        self._moved[name] = schema
        return {"$ref": self._place + name}

    def _new_name(self) -> str:
        name = str(len(self._moved))
        self._moved[name] = True
        return name


def _copy_id(value: object, copy: dict[str, Any]) -> None:
    """Copy an ``$id``, which up to draft 7 may be an anchor."""
    if isinstance(value, str):
        keyword = "$anchor" if value.startswith("#") else "$id"
        copy[keyword] = value.removeprefix("#")


def _translated(pattern: str, path: Path, keyword: str) -> list[str]:
    try:
        return translated(pattern)
    except PatternError as error:
        raise UnsupportedSchemaError(path, keyword, f"can't be followed: {error}") from None


def _patterns(schemas: Mapping[str, Any], at: tuple[Path, str]) -> dict[str, Any]:
    """``patternProperties`` with their patterns translated; raises `UnsupportedSchemaError`."""
    copy = {}
    for pattern, schema in schemas.items():
        name, *others = _translated(pattern, *at)
        if others:
            raise UnsupportedSchemaError(*at, "can't be followed: look-ahead is not supported")
        copy[name] = schema
    if len(copy) < len(schemas):
        raise UnsupportedSchemaError(*at, "has a pattern twice")
    return copy


def _as_any_of(schema: dict[str, Any], path: Path, unions: Unions, discriminator: object) -> None:
    """Turn a ``oneOf`` into an ``anyOf``, in its place; raises `UnsupportedSchemaError`."""
    tag = discriminator.get("propertyName") if isinstance(discriminator, Mapping) else None
    if not unions.tell_apart(schema["oneOf"], tag if isinstance(tag, str) else None):
        raise UnsupportedSchemaError(
            path,
            "oneOf",
            "can't be followed: a value may be allowed by several of its options. Give each a "
            "property with a 'const' of its own, or use 'anyOf'",
        )
    if "anyOf" in schema:
        schema["allOf"] = [*schema.get("allOf", ()), {"anyOf": schema.pop("oneOf")}]
        return
    items = list(schema.items())
    schema.clear()
    schema.update(("anyOf" if keyword == "oneOf" else keyword, value) for keyword, value in items)


def _path(reference: str) -> Path:
    path: Path = None
    for step in reference.split("/")[1:]:
        path = (path, step)
    return path
