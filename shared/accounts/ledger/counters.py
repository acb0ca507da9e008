"""Counters of a project: token buckets, money, reservations, and usage that is to be aggregated.

Pure: what becomes of them is written by `shared.accounts.ledger.ledger`. One record has it all, so
that one conditional write reserves or settles. Those of a busy project are split in shards, see
`shared.accounts.ledger.shards`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.accounts.ledger.reservation import (
    PERIODS,
    Held,
    LimitName,
    LimitState,
    OverBudgetError,
    Reservation,
    refusal,
    state_of,
)
from shared.accounts.ledger.token_bucket import UNIT, TokenBucket
from shared.accounts.ledger.usage import Group, Usage, size_of, usage_of, usage_to_value
from shared.accounts.limits import RateLimits, month_of

MOST_SHARDS = 64
"""A transaction of DynamoDB has room for 100 items."""
_MINUTE = 60
_LONGEST_MONTH = 31 * 86400
_MOST_PENDING = 16_000
"""Bytes of usage that each write may carry along before it is aggregated."""


@dataclass(slots=True)
class Counters:
    """What a project, or a shard of it, has used, spent and reserved."""

    buckets: dict[str, dict[LimitName, TokenBucket]] = field(default_factory=dict)
    month: str = ""
    spent: int = 0
    """In the month, nanodollars."""
    held: int = 0
    """Nanodollars that are reserved."""
    reservations: dict[str, Held] = field(default_factory=dict)
    pending: dict[int, dict[Group, Usage]] = field(default_factory=dict)
    """Usage by minute (Unix seconds of its beginning), until it is aggregated."""
    n_aggregated: int = 0
    """How often pending usage was aggregated."""
    shard: int = 0
    divisor: int = 1
    """A shard has this part of each limit and of the budget: 1, 2, 4, ... 64."""
    borrowed: int = 0
    """Of the budget from other shards; negative: what they have from it. See `money`."""
    split_at: int = 0
    """When it was split last, Unix seconds."""

    def reserve(
        self, asked: Reservation, limits: RateLimits, budget: int | None, now: float
    ) -> dict[LimitName, LimitState]:
        """Hold what a request may use; raises `RateLimitedError` or `OverBudgetError` without.

        ``budget``: nanodollars a month. Asked for once more, with the same id, it is there already.
        """
        buckets = self.buckets_of(asked.model, limits, now)
        if asked.id not in self.reservations:
            for name, bucket in buckets.items():
                missing = asked.units(name) * UNIT - bucket.room
                if missing > 0:
                    raise refusal(name, asked, bucket, missing)
            if self.missing_money(asked, budget, now) > 0:
                raise OverBudgetError
            self.hold(asked, buckets)
        return {name: state_of(bucket) for name, bucket in buckets.items()}

    def missing_money(self, asked: Reservation, budget: int | None, now: float) -> int:
        """What this shard's part of the budget has too little, as in `money`; 0 if enough."""
        self.turn(now)
        if budget is None:
            return 0
        return max(asked.cost * MOST_SHARDS - self.money(budget), 0)

    def money(self, budget: int) -> int:
        """What can still be reserved here, of a budget of the whole project.

        In 64ths of a nanodollar, so that no part is rounded.
        """
        part = budget * MOST_SHARDS // self.divisor
        return part + self.borrowed - (self.spent + self.held) * MOST_SHARDS

    def hold(
        self,
        asked: Reservation,
        buckets: Mapping[LimitName, TokenBucket],
        elsewhere: Mapping[LimitName, int] | None = None,
    ) -> None:
        """Hold what a request may use, but for what other shards' ``buckets`` have counted."""
        units = {name: asked.units(name) for name in buckets}
        held = Held(asked.model, asked.cost, asked.expires_at, units, elsewhere or {})
        for name, parts in held.parts().items():
            buckets[name].reserve(parts)
        self.held += asked.cost
        self.reservations[asked.id] = held

    def settle(self, asked: Reservation, group: Group, used: Usage, now: float) -> None:
        """Give back what a request did not use, and count what it did.

        One whose reservation was taken back already counts all the same. Other shards are given
        nothing back: what they have counted for it refills.
        """
        self.turn(now)
        held = self.release(asked.id)
        elsewhere = held.elsewhere if held is not None else {}
        for name, bucket in self.buckets.get(asked.model, {}).items():
            bucket.refill(_microseconds(now))
            is_tokens = name == "tokens_per_minute"
            units = used.prompt + used.completion if is_tokens else used.requests
            bucket.settle(0, max(units * UNIT - elsewhere.get(name, 0), 0))
        self.spent += used.cost
        if used.requests:
            minute = int(now) // _MINUTE * _MINUTE
            minutes = self.pending.setdefault(minute, {})
            minutes.setdefault(group, Usage()).add(used)

    def states(self, model: str, limits: RateLimits, now: float) -> dict[LimitName, LimitState]:
        """What is left of a model's limits."""
        return {name: state_of(b) for name, b in self.buckets_of(model, limits, now).items()}

    def spent_in_month(self, now: float) -> int:
        """Nanodollars that were spent in the month that it is."""
        self.turn(now)
        return self.spent

    def take_back_expired(self, now: float) -> None:
        """Give back what processes that died have reserved."""
        for reservation_id, held in list(self.reservations.items()):
            if held.expires_at <= now:
                self.release(reservation_id)

    def take_pending(self, now: float) -> dict[int, dict[Group, Usage]]:
        """Usage that is to be aggregated, which is no longer part of this.

        That of minutes that are over, and all of it where it is much: callers choose their users
        freely, and each write carries what is pending.
        """
        current = int(now) // _MINUTE * _MINUTE
        groups = [group for groups in self.pending.values() for group in groups]
        is_much = len(groups) > 2 and sum(map(size_of, groups)) > _MOST_PENDING
        due = [minute for minute in sorted(self.pending) if is_much or minute < current]
        self.n_aggregated += bool(due)
        return {minute: self.pending.pop(minute) for minute in due}

    def release(self, reservation_id: str) -> Held | None:
        """Hold a reservation no more; what was held, None if it is not there."""
        held = self.reservations.pop(reservation_id, None)
        if held is not None:
            self.held -= held.cost
            for name, parts in held.parts().items():
                if parts:
                    self.buckets[held.model][name].settle(parts, 0)
        return held

    def turn(self, now: float) -> None:
        """Begin a month anew. A clock that is behind goes on with the month that others began.

        A month that can't have begun yet is one of a clock that was wrong; what was spent stays.
        """
        month = month_of(now)
        if self.month > month and self.month > month_of(now + _LONGEST_MONTH):
            self.month = month
        self.turn_to(month)

    def turn_to(self, month: str) -> None:
        """Begin a month, unless a later one has begun."""
        if month > self.month:
            self.month, self.spent = month, 0

    def buckets_of(
        self, model: str, limits: RateLimits, now: float
    ) -> dict[LimitName, TokenBucket]:
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
                bucket = buckets[name] = TokenBucket(period, limit, divisor=self.divisor)
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
            "reservations": {key: held.to_value() for key, held in self.reservations.items()},
            "pending": {
                str(minute): usage_to_value(groups) for minute, groups in self.pending.items()
            },
            "n_aggregated": self.n_aggregated,
            "shard": [self.shard, self.divisor, self.borrowed, self.split_at],
        }

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Counters:
        """From what was kept; of nothing, new ones."""
        if not value:
            return cls()
        shard, divisor, borrowed, split_at = value["shard"]
        return cls(
            buckets={
                model: {name: _bucket(name, state, divisor) for name, state in buckets.items()}
                for model, buckets in value["buckets"].items()
            },
            month=value["month"],
            spent=value["spent"],
            held=value["held"],
            reservations={key: Held.of(held) for key, held in value["reservations"].items()},
            pending={int(minute): usage_of(groups) for minute, groups in value["pending"].items()},
            n_aggregated=value["n_aggregated"],
            shard=shard,
            divisor=divisor,
            borrowed=borrowed,
            split_at=split_at,
        )


def _microseconds(now: float) -> int:
    return int(now * 10**6)


def _bucket(name: LimitName, state: Sequence[int], divisor: int) -> TokenBucket:
    limit, level, at, held = state
    return TokenBucket(PERIODS[name], limit, level, at, held, divisor)
