"""``oneOf`` as ``anyOf``: where no value is allowed by two of the options, they are the same.

Options differ in their types, in their values, or in a tag: a property whose values are each
option's own. Pydantic lets a tag have a default and so be left out of the schema's ``required``,
whereupon options would overlap; when it reads an answer it asks for the tag, and so it is required.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from shared.json_schema.facts import UNIONS, Facts, list_in

_MOST_CANDIDATES = 64
"""Properties that are looked at for a tag."""


class Unions:
    """Tells options apart, and has their tags required."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._required: set[tuple[int, str]] = set()
        self._told_apart: set[tuple[tuple[int, ...], str | None]] = set()

    def tell_apart(self, options: Sequence[Any], discriminator: str | None) -> bool:
        """Whether no value is allowed by two options, once their tags are required, as they are."""
        key = tuple(id(self._facts.referred(option)) for option in options), discriminator
        if key not in self._told_apart and not self._can_tell_apart(options, discriminator):
            return False
        self._told_apart.add(key)
        return True

    def _can_tell_apart(self, options: Sequence[Any], discriminator: str | None) -> bool:
        groups: defaultdict[str, list[Any]] = defaultdict(list)
        for option in options:
            for type in self._facts.types(option):
                groups[type].append(option)
        shared = {type: group for type, group in groups.items() if len(group) > 1}
        objects = shared.pop("object", [])
        if not all(self._have_own_values(group, type) for type, group in shared.items()):
            return False
        if objects:
            tag = self._tag(objects, discriminator)
            if tag is None:
                return False
            for option in objects:
                self._require(option, tag)
        return True

    def _have_own_values(self, schemas: Sequence[Any], type: str) -> bool:
        known: set[str] = set()
        for schema in schemas:
            values = self._facts.values(schema, type)
            if values is None or not known.isdisjoint(values):
                return False
            known |= values
        return True

    def _tag(self, options: Sequence[Any], discriminator: str | None) -> str | None:
        """A property that tells objects apart by its type or its value."""
        declared = [self._facts.property_names(option, _MOST_CANDIDATES) for option in options]
        preferred = [] if discriminator is None else [discriminator]
        for name in (*preferred, *min(declared, key=len)):
            schemas = [self._facts.property(option, name) for option in options]
            if None not in schemas and self._differ(schemas):
                return name
        return None

    def _differ(self, schemas: Sequence[Any]) -> bool:
        groups: defaultdict[str, list[Any]] = defaultdict(list)
        for schema in schemas:
            for type in self._facts.types(schema):
                groups[type].append(schema)
        return all(
            len(group) < 2 or (type != "object" and self._have_own_values(group, type))
            for type, group in groups.items()
        )

    def _require(self, option: Any, name: str) -> None:
        """Have the property required wherever ``option`` declares it."""
        if (id(option), name) in self._required:
            return
        self._required.add((id(option), name))
        facets = self._facts.facets(option)
        if any(name in list_in(facet, "required") for facet in facets):
            return
        for facet in facets:
            properties = facet.get("properties")
            if isinstance(properties, Mapping) and name in properties:
                facet["required"] = [*list_in(facet, "required"), name]
                return
        for facet in facets:
            for keyword in UNIONS:
                for inner in list_in(facet, keyword):
                    self._require(inner, name)
