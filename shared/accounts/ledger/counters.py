"""Counters of a project: token buckets, money, reservations, and usage that is to be aggregated.

Pure: what becomes of them is written by `shared.accounts.ledger.ledger`. One record has it all, so
that one conditional write reserves or settles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from shared.accounts.ledger.token_bucket import TokenBucket
from shared.accounts.limits import RateLimits

LimitName = Literal["requests_per_minute", "tokens_per_minute", "requests_per_day"]

PERIODS: Mapping[LimitName, int] = {
    "requests_per_minute": 60,
    "tokens_per_minute": 60,
    "requests_per_day": 86400,
}
"""Seconds in which a limit's units refill."""
_MINUTE = 60


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What a request may use at most.

    ``expires_at``: when it is taken back, in Unix seconds. ``limits``: those that it is held in.
    """

    id: str
    model: str
    tokens: int
    cost: int
    expires_at: int
    limits: tuple[LimitName, ...] = ()

    def units(self, name: LimitName) -> int:
        """How much of a limit it needs."""
        return self.tokens if name == "tokens_per_minute" else 1


@dataclass(frozen=True, slots=True)
class LimitState:
    """One limit, as response headers tell it."""

    limit: int
    remaining: int
    reset_seconds: float


class RateLimitedError(Exception):
    """A rate limit has no room. ``needed`` units of ``name`` never fit where they are over it."""

    def __init__(self, name: LimitName, needed: int, state: LimitState, retry_after: int) -> None:
        super().__init__(name)
        self.name = name
        self.needed = needed
        self.state = state
        self.retry_after = retry_after


class OverBudgetError(Exception):
    """The month's spend limit has no room."""


@dataclass(slots=True)
class Counters:
    """What a project (or a shard of it) has used, spent and reserved."""

    buckets: dict[str, dict[LimitName, TokenBucket]] = field(default_factory=dict)
    month: str = ""
    spent: int = 0
    """In the month, nanodollars."""
    held: int = 0
    """Nanodollars that are reserved."""
    reservations: dict[str, Reservation] = field(default_factory=dict)
    pending: dict[int, dict[Group, Usage]] = field(default_factory=dict)
    """Usage by minute (Unix seconds of its beginning), until it is aggregated."""

    def reserve(
        self, asked: Reservation, limits: RateLimits, budget: int | None, now: float
    ) -> dict[LimitName, LimitState]:
        """Hold what a request may use; raises `RateLimitedError` or `OverBudgetError` without.

        ``budget``: nanodollars a month. Asked for once more, with the same id, it is there already.
        """
        self._turn(now)
        buckets = self._buckets(asked.model, limits, now)
        if asked.id not in self.reservations:
            for name, bucket in buckets.items():
                needed = asked.units(name)
                if not bucket.has_room(needed):
                    retry_after = bucket.seconds_until_room(needed)
                    raise RateLimitedError(name, needed, _state(bucket), retry_after)
            if budget is not None and self.spent + self.held + asked.cost > budget:
                raise OverBudgetError
            for name, bucket in buckets.items():
                bucket.reserve(asked.units(name))
            self.held += asked.cost
            self.reservations[asked.id] = replace(asked, limits=tuple(buckets))
        return {name: _state(bucket) for name, bucket in buckets.items()}

    def settle(self, asked: Reservation, group: Group, used: Usage, now: float) -> None:
        """Give back what a request did not use, and count what it did.

        One whose reservation was taken back already counts all the same.
        """
        self._turn(now)
        self._release(asked.id)
        for name, bucket in self.buckets.get(asked.model, {}).items():
            bucket.refill(_microseconds(now))
            is_tokens = name == "tokens_per_minute"
            bucket.settle(0, used.prompt + used.completion if is_tokens else used.requests)
        self.spent += used.cost
        if used.requests:
            minute = int(now) // _MINUTE * _MINUTE
            minutes = self.pending.setdefault(minute, {})
            minutes.setdefault(group, Usage()).add(used)

    def states(self, model: str, limits: RateLimits, now: float) -> dict[LimitName, LimitState]:
        """What is left of a model's limits."""
        return {name: _state(b) for name, b in self._buckets(model, limits, now).items()}

    def spent_in_month(self, now: float) -> int:
        """Nanodollars that were spent in the month that it is."""
        self._turn(now)
        return self.spent

    def take_back_expired(self, now: float) -> None:
        """Give back what processes that died have reserved."""
        for reservation in list(self.reservations.values()):
            if reservation.expires_at <= now:
                self._release(reservation.id)

    def take_pending(self, now: float) -> dict[int, dict[Group, Usage]]:
        """Usage of minutes that are over, which is no longer part of this."""
        current = int(now) // _MINUTE * _MINUTE
        return {
            minute: self.pending.pop(minute) for minute in sorted(self.pending) if minute < current
        }

    def _release(self, reservation_id: str) -> None:
        """Hold a reservation no more, if it is there."""
        reservation = self.reservations.pop(reservation_id, None)
        if reservation is not None:
            self.held -= reservation.cost
            for name in reservation.limits:
                self.buckets[reservation.model][name].settle(reservation.units(name), 0)

    def _turn(self, now: float) -> None:
        """Begin a month anew. A clock that is behind goes on with the month that others began."""
        month = f"{datetime.fromtimestamp(now, UTC):%Y-%m}"
        if month > self.month:
            self.month, self.spent = month, 0

    def _buckets(self, model: str, limits: RateLimits, now: float) -> dict[LimitName, TokenBucket]:
        """The model's buckets that have a limit now, refilled."""
        buckets = self.buckets.setdefault(model, {})
        found: dict[LimitName, TokenBucket] = {}
        for name, period in PERIODS.items():
            limit: int | None = getattr(limits, name)
            bucket = buckets.get(name)
            if limit is None:
                if bucket is not None and not bucket.held:
                    del buckets[name]
                continue
            if bucket is None:
                bucket = buckets[name] = TokenBucket(period, limit)
            bucket.refill(_microseconds(now))
            bucket.limit = limit
            found[name] = bucket
        return found

    def to_value(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            "buckets": {
                model: {name: [b.limit, b.level, b.at, b.held] for name, b in buckets.items()}
                for model, buckets in self.buckets.items()
            },
            "month": self.month,
            "spent": self.spent,
            "held": self.held,
            "reservations": {
                r.id: [r.model, r.tokens, r.cost, r.expires_at, r.limits]
                for r in self.reservations.values()
            },
            "pending": {
                str(minute): usage_to_value(groups) for minute, groups in self.pending.items()
            },
        }

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Counters:
        """From what was kept; of nothing, new ones."""
        if not value:
            return cls()
        return cls(
            buckets={
                model: {name: TokenBucket(PERIODS[name], *state) for name, state in buckets.items()}
                for model, buckets in value["buckets"].items()
            },
            month=value["month"],
            spent=value["spent"],
            held=value["held"],
            reservations={
                key: Reservation(
                    id=key,
                    model=r[0],
                    tokens=r[1],
                    cost=r[2],
                    expires_at=r[3],
                    limits=tuple(r[4]),
                )
                for key, r in value["reservations"].items()
            },
            pending={int(minute): usage_of(groups) for minute, groups in value["pending"].items()},
        )


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


def _state(bucket: TokenBucket) -> LimitState:
    return LimitState(bucket.limit, bucket.remaining, bucket.seconds_until_full)


def _microseconds(now: float) -> int:
    return int(now * 10**6)


def days(minutes: Mapping[int, Mapping[Group, Usage]]) -> Iterator[tuple[int, dict[Group, Usage]]]:
    """Usage by day (Unix seconds of its beginning, UTC), of usage by minute."""
    found: dict[int, list[Mapping[Group, Usage]]] = {}
    for minute, groups in minutes.items():
        found.setdefault(minute // 86400 * 86400, []).append(groups)
    for day, several in sorted(found.items()):
        yield day, merged(*several)
