"""Shards of a project's counters: several records, which take more writes than one.

Each has a part of every limit and of the budget, so that most requests need one of them. One that
has too little room takes it from the others, in the same write: a limit is as exact as with one
record, and no request is refused while the whole project has room for it.

A busy shard is split in two, in one of its writes and without the others: the ``n``-th of
``divisor`` becomes the ``n``-th and the ``n + divisor``-th of twice as many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shared.accounts.ledger.counters import MOST_SHARDS, Counters
from shared.accounts.ledger.reservation import (
    LimitName,
    LimitState,
    OverBudgetError,
    RateLimitedError,
    Reservation,
    refusal,
    state_of,
)
from shared.accounts.ledger.token_bucket import UNIT, TokenBucket
from shared.accounts.ledger.usage import merged as merged_usage
from shared.accounts.limits import RateLimits


class Shards:
    """Counters of a project, seen from one of their shards. Pure, as `Counters` are.

    ``load``: reads the other shards, where they are needed.
    """

    def __init__(self, home: Counters, load: Callable[[], Sequence[Counters]]) -> None:
        self.home = home
        self._load = load
        self._others: Sequence[Counters] | None = None
        self._changed: dict[int, Counters] = {}

    @property
    def changed_others(self) -> Sequence[Counters]:
        """What is to be written beside the home."""
        return list(self._changed.values())

    def reserve(
        self, asked: Reservation, limits: RateLimits, budget: int | None, now: float
    ) -> dict[LimitName, LimitState]:
        """See `Counters.reserve`; with room from other shards if it has to be."""
        try:
            return self.home.reserve(asked, limits, budget, now)
        except (RateLimitedError, OverBudgetError):
            if self.home.divisor == 1:
                raise
        if self._others is None:
            self._others = self._load()
            for other in self._others:
                other.take_back_expired(now)
        return self._reserve_with(self._others, asked, limits, budget, now)

    def _reserve_with(
        self,
        others: Sequence[Counters],
        asked: Reservation,
        limits: RateLimits,
        budget: int | None,
        now: float,
    ) -> dict[LimitName, LimitState]:
        """Look at all limits before anything is changed."""
        everyone = [self.home, *others]
        buckets = [each.buckets_of(asked.model, limits, now) for each in everyone]
        whole = {name: merged_bucket([found[name] for found in buckets]) for name in buckets[0]}
        for name, bucket in whole.items():
            missing = asked.units(name) * UNIT - bucket.room
            if missing > 0:
                raise refusal(name, asked, bucket, missing)
        turn_all(everyone, now)
        missing_money = self.home.missing_money(asked, budget, now)
        if missing_money and budget is not None:
            if sum(each.money(budget) for each in everyone) < asked.cost * MOST_SHARDS:
                raise OverBudgetError
            self._take_money(others, missing_money, budget)
        elsewhere: dict[LimitName, int] = {}
        for name, bucket in buckets[0].items():
            missing = asked.units(name) * UNIT - max(bucket.room, 0)
            if missing > 0:
                self._take_room(
                    [(c, found[name]) for c, found in zip(others, buckets[1:], strict=True)],
                    missing,
                )
                elsewhere[name] = missing
        self.home.hold(asked, buckets[0], elsewhere)
        return {
            name: state_of(merged_bucket([found[name] for found in buckets])) for name in buckets[0]
        }

    def _take_money(self, others: Sequence[Counters], missing: int, budget: int) -> None:
        """Take over ``missing`` parts of the budget, and more from those that have it."""
        for other in sorted(others, key=lambda each: each.money(budget), reverse=True):
            if missing <= 0:
                return
            there = other.money(budget)
            taken = max(min(missing, there), there // 2)
            other.borrowed -= taken
            self.home.borrowed += taken
            missing -= taken
            self._changed[other.shard] = other

    def _take_room(self, others: Sequence[tuple[Counters, TokenBucket]], missing: int) -> None:
        """Count ``missing`` parts as used in the buckets of others, where they refill."""
        for other, bucket in sorted(others, key=lambda each: each[1].room, reverse=True):
            if missing <= 0:
                return
            taken = min(missing, bucket.room)
            bucket.settle(0, taken)
            missing -= taken
            self._changed[other.shard] = other


def merged(shards: Sequence[Counters], now: float) -> Counters:
    """All shards' counters as if they had been one record's."""
    turn_all(shards, now)
    models = {model for each in shards for model in each.buckets}
    return Counters(
        buckets={
            model: {
                name: merged_bucket(found) for name, found in _buckets(shards, model, now).items()
            }
            for model in models
        },
        month=shards[0].month,
        spent=sum(each.spent for each in shards),
        held=sum(each.held for each in shards),
        reservations={key: held for each in shards for key, held in each.reservations.items()},
        pending={
            minute: merged_usage(*(each.pending.get(minute, {}) for each in shards))
            for minute in {minute for each in shards for minute in each.pending}
        },
        n_aggregated=sum(each.n_aggregated for each in shards),
    )


def merged_bucket(buckets: Sequence[TokenBucket]) -> TokenBucket:
    """Several shards' buckets of a limit as if they were one; the latest knows the limit.

    Its room is what those have that have some: what others hold beyond their part was taken from
    these when the shards were split.
    """
    latest = max(buckets, key=lambda each: each.at)
    beyond = sum(max(-each.room, 0) for each in buckets)
    return TokenBucket(
        latest.period,
        latest.limit,
        level=sum(each.level for each in buckets) - beyond,
        at=latest.at,
        held=sum(each.held for each in buckets),
    )


def split(shard: Counters, now: float) -> Counters:
    """Halve a shard; the other half, which has no reservations.

    Both have the same room where that can be, and together what it was.
    """
    shard.turn(now)
    room, divisor = shard.money(0), shard.divisor * 2
    other = Counters(month=shard.month, shard=shard.shard + shard.divisor)
    for each in (shard, other):
        each.divisor, each.split_at = divisor, int(now)
    for model, buckets in shard.buckets.items():
        for name, bucket in buckets.items():
            bucket.refill(int(now * 10**6))
            half = TokenBucket(bucket.period, bucket.limit, at=bucket.at)
            other.buckets.setdefault(model, {})[name] = half
            _halve(bucket, half)
    other.borrowed += room // 2 - other.money(0)
    shard.borrowed += room - room // 2 - shard.money(0)
    return other


def even_out(shards: Sequence[Counters], budget: int) -> Sequence[Counters]:
    """Give the shard that has spent most too much of a budget what another one has.

    Returns the two that it changes, none if all have spent too much, or nobody.
    """
    poor = min(shards, key=lambda each: each.money(budget))
    rich = max(shards, key=lambda each: each.money(budget))
    given = min(-poor.money(budget), rich.money(budget))
    if given <= 0:
        return ()
    rich.borrowed -= given
    poor.borrowed += given
    return rich, poor


def children(shard: int, divisor: int) -> Sequence[int]:
    """The shards that were split off one whose divisor is that now."""
    first: int = 1 << shard.bit_length()  # its divisor when it was new
    return [shard + 2**n for n in range(first.bit_length() - 1, divisor.bit_length() - 1)]


def next_shard(seed: int, shard: int, divisor: int) -> int:
    """Where to look on for the shard that ``seed`` chooses; ``shard`` itself if that is it."""
    for child in children(shard, divisor):
        if seed % (1 << child.bit_length()) == child:
            return child
    return shard


def _buckets(
    shards: Sequence[Counters], model: str, now: float
) -> dict[LimitName, list[TokenBucket]]:
    """A model's buckets in all shards that have some, refilled."""
    found: dict[LimitName, list[TokenBucket]] = {}
    for each in shards:
        for name, bucket in each.buckets.get(model, {}).items():
            bucket.refill(int(now * 10**6))
            found.setdefault(name, []).append(bucket)
    return found


def _halve(bucket: TokenBucket, other: TokenBucket) -> None:
    """Divide a bucket's room. What it holds stays, and may be more than half of its limit."""
    room = max(bucket.room, 0)
    bucket.divisor *= 2
    other.divisor = bucket.divisor
    bucket.level = other.level = 0
    here = min(bucket.room, room // 2)
    bucket.level = bucket.room - here
    other.level = max(other.room - (room - max(here, 0)), 0)


def turn_all(shards: Sequence[Counters], now: float) -> None:
    """Begin the same month in all shards."""
    for each in shards:
        each.turn(now)
    month = max(each.month for each in shards)
    for each in shards:
        each.turn_to(month)
