"""Reservation: what a request may use at most, how it is refused, and what is left of limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from shared.accounts.ledger.token_bucket import UNIT, TokenBucket

LimitName = Literal["requests_per_minute", "tokens_per_minute", "requests_per_day"]

PERIODS: Mapping[LimitName, int] = {
    "requests_per_minute": 60,
    "tokens_per_minute": 60,
    "requests_per_day": 86400,
}
"""Seconds in which a limit's units refill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What a request may use at most.

    ``expires_at``: when it is taken back, in Unix seconds.
    """

    id: str
    model: str
    tokens: int
    cost: int
    expires_at: int

    def units(self, name: LimitName) -> int:
        """How much of a limit it needs."""
        return self.tokens if name == "tokens_per_minute" else 1


@dataclass(frozen=True, slots=True)
class Held:
    """What is held for a reservation.

    - ``units``: of the limits that it is held in.
    - ``elsewhere``: parts of these units that were counted as used in other shards' buckets.
    """

    model: str
    cost: int
    expires_at: int
    units: Mapping[LimitName, int]
    elsewhere: Mapping[LimitName, int] = field(default_factory=dict)

    def parts(self) -> dict[LimitName, int]:
        """What is held in the shard that the reservation is in, in parts of units."""
        return {name: n * UNIT - self.elsewhere.get(name, 0) for name, n in self.units.items()}

    def to_value(self) -> list[Any]:
        """As it is kept, in few bytes: each write carries all."""
        limits: list[Any] = [[self.units.get(name) for name in PERIODS]]
        if self.elsewhere:
            limits.append([self.elsewhere.get(name) for name in PERIODS])
        return [self.model, self.cost, self.expires_at, *limits]

    @classmethod
    def of(cls, value: Sequence[Any]) -> Held:
        """From what was kept."""
        model, cost, expires_at, *limits = value
        return cls(model, cost, expires_at, *map(_by_name, limits))


def _by_name(values: Sequence[int | None]) -> dict[LimitName, int]:
    return {name: n for name, n in zip(PERIODS, values, strict=True) if n is not None}


@dataclass(frozen=True, slots=True)
class LimitState:
    """One limit, as response headers tell it."""

    limit: int
    remaining: int
    reset_seconds: float


class RefusedError(Exception):
    """A limit or a budget has no room for a request."""


class RateLimitedError(RefusedError):
    """A rate limit has no room. ``needed`` units of ``name`` never fit where they are over it."""

    def __init__(self, name: LimitName, needed: int, state: LimitState, retry_after: int) -> None:
        super().__init__(name)
        self.name = name
        self.needed = needed
        self.state = state
        self.retry_after = retry_after


class OverBudgetError(RefusedError):
    """The month's spend limit has no room."""


def refusal(
    name: LimitName, asked: Reservation, bucket: TokenBucket, missing: int
) -> RateLimitedError:
    """What is raised where a limit has ``missing`` parts too little for a request."""
    return RateLimitedError(
        name, asked.units(name), state_of(bucket), bucket.seconds_until(missing)
    )


def state_of(bucket: TokenBucket) -> LimitState:
    """A limit as it is now."""
    return LimitState(bucket.limit, bucket.remaining, bucket.seconds_until_full)
