"""Usage of requests in groups: sums, days, and what of them one record has room for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

_MOST_AGGREGATED = 200_000
"""Bytes of usage by user in a record; DynamoDB's limit is 400 KB."""
_BYTES_OF_NUMBERS = 112
"""Seven numbers of 15 digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What usage is told apart by."""

    key_id: str | None
    model: str
    tier: str
    user: str | None = None


@dataclass(slots=True)
class Usage:
    """Sums of requests. ``cached`` tokens are among the ``prompt``'s. Costs in nanodollars."""

    requests: int = 0
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    prompt_cost: int = 0
    """Of what was not cached."""
    cached_cost: int = 0
    completion_cost: int = 0

    @property
    def cost(self) -> int:
        """All of it."""
        return self.prompt_cost + self.cached_cost + self.completion_cost

    def add(self, other: Usage) -> None:
        """Add another one's sums."""
        self.requests += other.requests
        self.prompt += other.prompt
        self.cached += other.cached
        self.completion += other.completion
        self.prompt_cost += other.prompt_cost
        self.cached_cost += other.cached_cost
        self.completion_cost += other.completion_cost


def usage_to_value(groups: Mapping[Group, Usage]) -> list[list[Any]]:
    """Usage by group, as it is kept."""
    return [
        [
            *(group.key_id, group.model, group.tier, group.user),
            *(usage.requests, usage.prompt, usage.cached, usage.completion),
            *(usage.prompt_cost, usage.cached_cost, usage.completion_cost),
        ]
        for group, usage in groups.items()
    ]


def usage_of(value: list[list[Any]]) -> dict[Group, Usage]:
    """Usage by group, from what was kept."""
    return {
        Group(key_id=row[0], model=row[1], tier=row[2], user=row[3]): Usage(*row[4:])
        for row in value
    }


def merged(*several: Mapping[Group, Usage]) -> dict[Group, Usage]:
    """Sums of usage by group."""
    total: dict[Group, Usage] = {}
    for groups in several:
        for group, usage in groups.items():
            total.setdefault(group, Usage()).add(usage)
    return total


def bounded(groups: Mapping[Group, Usage]) -> dict[Group, Usage]:
    """The same usage in groups that one record has room for; those that come first are kept.

    What there is no room for is counted for its key without the user, and beyond that for the
    project without the key.
    """
    kept: dict[Group, Usage] = {}
    size = 0
    for group, usage in groups.items():
        without_user = replace(group, user=None)
        without_key = replace(without_user, key_id=None)
        rooms = (
            (group, _MOST_AGGREGATED),
            (without_user, _MOST_AGGREGATED * 5 // 4),
            (without_key, 2**63),
        )
        for candidate, room in rooms:
            added = 0 if candidate in kept else size_of(candidate)
            if size + added <= room or not added:
                size += added
                kept.setdefault(candidate, Usage()).add(usage)
                break
    return kept


def size_of(group: Group) -> int:
    """Bytes that a group's usage has as JSON, at most or nearly so."""
    return len(json.dumps([group.key_id, group.model, group.tier, group.user])) + _BYTES_OF_NUMBERS


def days(minutes: Mapping[int, Mapping[Group, Usage]]) -> Iterator[tuple[int, dict[Group, Usage]]]:
    """Usage by day (Unix seconds of its beginning, UTC), of usage by minute."""
    found: dict[int, list[Mapping[Group, Usage]]] = {}
    for minute, groups in minutes.items():
        found.setdefault(minute // 86400 * 86400, []).append(groups)
    for day, several in sorted(found.items()):
        yield day, merged(*several)
