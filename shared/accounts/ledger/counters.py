"""Counters of a project: token buckets, money, reservations, and usage that is to be aggregated.

Pure: what becomes of them is written by `shared.accounts.ledger.ledger`. One record has it all, so
that one conditional write reserves or settles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from shared.accounts.ledger.token_bucket import TokenBucket
from shared.accounts.ledger.usage import Group, Usage, size_of, usage_of, usage_to_value
from shared.accounts.limits import RateLimits

LimitName = Literal["requests_per_minute", "tokens_per_minute", "requests_per_day"]

PERIODS: Mapping[LimitName, int] = {
    "requests_per_minute": 60,
    "tokens_per_minute": 60,
    "requests_per_day": 86400,
}
"""Seconds in which a limit's units refill."""
_MINUTE = 60
_LONGEST_MONTH = 31 * 86400
_MOST_PENDING = 16_000
"""Bytes of usage that each write may carry along before it is aggregated."""


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
    n_aggregated: int = 0
    """How often pending usage was aggregated."""

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
        """Usage that is to be aggregated, which is no longer part of this.

        That of minutes that are over, and all of it where it is much: callers choose their users
        freely, and each write carries what is pending.
        """
        current = int(now) // _MINUTE * _MINUTE
        is_much = (
            sum(size_of(g) for groups in self.pending.values() for g in groups) > _MOST_PENDING
        )
        due = [minute for minute in sorted(self.pending) if is_much or minute < current]
        self.n_aggregated += bool(due)
        return {minute: self.pending.pop(minute) for minute in due}

    def _release(self, reservation_id: str) -> None:
        """Hold a reservation no more, if it is there."""
        reservation = self.reservations.pop(reservation_id, None)
        if reservation is not None:
            self.held -= reservation.cost
            for name in reservation.limits:
                self.buckets[reservation.model][name].settle(reservation.units(name), 0)

    def _turn(self, now: float) -> None:
        """Begin a month anew. A clock that is behind goes on with the month that others began.

        A month that can't have begun yet is one of a clock that was wrong; what was spent stays.
        """
        month = f"{datetime.fromtimestamp(now, UTC):%Y-%m}"
        if month > self.month:
            self.month, self.spent = month, 0
        elif self.month > f"{datetime.fromtimestamp(now + _LONGEST_MONTH, UTC):%Y-%m}":
            self.month = month

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
            "n_aggregated": self.n_aggregated,
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
            n_aggregated=value.get("n_aggregated", 0),
        )


def _state(bucket: TokenBucket) -> LimitState:
    return LimitState(bucket.limit, bucket.remaining, bucket.seconds_until_full)


def _microseconds(now: float) -> int:
    return int(now * 10**6)
