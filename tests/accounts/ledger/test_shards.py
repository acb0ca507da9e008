"""Shards of counters against one record that is asked for the same."""

from __future__ import annotations

import json
import random
from fractions import Fraction

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shared.accounts.ledger.counters import Counters
from shared.accounts.ledger.reservation import (
    OverBudgetError,
    RateLimitedError,
    RefusedError,
    Reservation,
)
from shared.accounts.ledger.shards import Shards, children, even_out, merged, next_shard, split
from shared.accounts.ledger.token_bucket import UNIT
from shared.accounts.ledger.usage import Group, Usage
from shared.accounts.ledger.usage import merged as merged_usage
from shared.accounts.limits import RateLimits
from tests.accounts.ledger.test_counters import FREE, GROUP, NOW, reservation, used


def _shards(n: int) -> list[Counters]:
    """Equal ones."""
    shards = [Counters()]
    while len(shards) < n:
        shards += [split(each, NOW) for each in shards]
    return shards


def _reserve(
    shards: list[Counters],
    home: int,
    asked: Reservation,
    limits: RateLimits = FREE,
    budget: int | None = None,
    now: float = NOW,
) -> Shards:
    """Reserve in one of the shards, as the ledger does; which others were changed is told."""
    others = [each for each in shards if each.shard != home]
    view = Shards(next(each for each in shards if each.shard == home), lambda: others)
    view.reserve(asked, limits, budget, now)
    return view


def test_a_shard_with_room_needs_no_other() -> None:
    shards = _shards(4)
    view = Shards(shards[1], lambda: pytest.fail("read"))
    view.reserve(reservation("a", 20, cost=20), RateLimits(tokens_per_minute=100), 100, NOW)
    assert view.changed_others == []


@pytest.mark.parametrize("n", [1, 2, 8, 64])
@pytest.mark.parametrize("limit", [1, 3, 10])
def test_all_of_a_limit_can_be_used_from_any_shard(n: int, limit: int) -> None:
    shards = _shards(n)
    limits = RateLimits(requests_per_minute=limit)
    for index in range(limit):
        _reserve(shards, index % 2 % n, reservation(str(index)), limits)
    for home in range(n):
        with pytest.raises(RateLimitedError) as limited:
            _reserve(shards, home, reservation("x"), limits)
        assert (limited.value.state.limit, limited.value.state.remaining) == (limit, 0)


@pytest.mark.parametrize("n", [1, 2, 8, 64])
def test_all_of_a_budget_can_be_spent_from_any_shard(n: int) -> None:
    shards = _shards(n)
    _reserve(shards, 0, reservation("a", cost=61), budget=101)
    _reserve(shards, n - 1, reservation("b", cost=40), budget=101)
    with pytest.raises(OverBudgetError):
        _reserve(shards, 0, reservation("c", cost=1), budget=101)
    shards[0].settle(reservation("a", cost=61), GROUP, used(cost=60), NOW)
    _reserve(shards, n // 2, reservation("c", cost=1), budget=101)
    assert sum(each.borrowed for each in shards) == 0


def test_a_request_that_needs_more_than_a_shard_has() -> None:
    shards = _shards(4)
    limits = RateLimits(tokens_per_minute=100)
    view = _reserve(shards, 2, reservation("a", 90), limits)
    assert [each.shard for each in view.changed_others] == [0, 1, 3]
    whole = merged(shards, NOW).buckets["small"]["tokens_per_minute"]
    assert whole.room == 10 * UNIT
    shards[2].settle(reservation("a", 90), GROUP, used(80, 5), NOW)
    whole = merged(shards, NOW).buckets["small"]["tokens_per_minute"]
    assert whole.room == 15 * UNIT


def test_a_refusal_changes_no_shard() -> None:
    shards = _shards(2)
    limits = RateLimits(requests_per_minute=5, tokens_per_minute=10)
    _reserve(shards, 0, reservation("a", 8, cost=3), limits, 10)
    before = [each.to_value() for each in shards]
    with pytest.raises(RateLimitedError):
        _reserve(shards, 0, reservation("b", 5), limits, 10)
    with pytest.raises(OverBudgetError):
        _reserve(shards, 0, reservation("b", 2, cost=8), limits, 10)
    assert [each.to_value() for each in shards] == before


def test_shards_begin_a_month_together() -> None:
    shards = _shards(2)
    for home in (0, 1):
        _reserve(shards, home, reservation(str(home), cost=50), budget=100)
        shards[home].settle(reservation(str(home), cost=50), GROUP, used(cost=50), NOW)
    later = NOW + 31 * 86400
    _reserve(shards, 0, reservation("c", cost=90, at=later), budget=100, now=later)
    assert [each.month for each in shards] == ["2027-02", "2027-02"]
    assert merged(shards, later).spent == 0


def test_after_a_budget_was_lowered_nobody_has_some_left() -> None:
    shards = _shards(2)
    _reserve(shards, 0, reservation("a", cost=50), budget=100)
    shards[0].settle(reservation("a", cost=50), GROUP, used(cost=50), NOW)
    assert even_out(shards, 40) == (shards[1], shards[0])
    assert even_out(shards, 40) == ()
    for home in (0, 1):
        with pytest.raises(OverBudgetError):
            _reserve(shards, home, reservation("b", cost=1), budget=40)


@pytest.mark.parametrize("seed", range(20))
def test_a_seed_leads_to_a_shard(seed: int) -> None:
    """However shards are split, there is one for each; and all can be found from the first."""
    rng = random.Random(seed)
    shards = {0: Counters()}
    for _ in range(12):
        new = split(shards[rng.choice(sorted(shards))], NOW)
        assert new.shard not in shards
        shards[new.shard] = new
    assert sum(Fraction(1, each.divisor) for each in shards.values()) == 1
    for chosen in range(max(each.divisor for each in shards.values())):
        shard, found = -1, 0
        while found != shard:
            shard, found = found, next_shard(chosen, found, shards[found].divisor)
        assert chosen % shards[shard].divisor == shard
    found_all, wanted = set(), [0]
    while wanted:
        shard = wanted.pop()
        found_all.add(shard)
        wanted += children(shard, shards[shard].divisor)
    assert found_all == shards.keys()


class Machine(RuleBasedStateMachine):
    """Requests of a project in shards, and the same in one record, which is never less generous.

    But where the budget was lowered below what is spent and held: what those requests then do not use
    goes back to their shard, which does not know what others owe. Such a budget is exceeded by what was
    in flight at most.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shards = [Counters()]
        self.one = Counters()
        self.now = NOW
        self.running: dict[str, tuple[Reservation, int]] = {}
        self.answered: dict[int, dict[Group, Usage]] = {}
        self.limits = FREE
        self.budget: int | None = None
        self.n = 0
        self.is_overdrawn = False
        """Whether the budget was below what is spent and held."""
        self.is_late = False
        """Whether a request has ended whose reservation was taken back."""

    @initialize(
        requests=st.none() | st.integers(1, 5),
        tokens=st.none() | st.integers(1, 100),
        daily=st.none() | st.integers(1, 9),
    )
    def limit(self, requests: int | None, tokens: int | None, daily: int | None) -> None:
        """The limits, which stay: a shard that is not asked learns of others later."""
        self.limits = RateLimits(
            requests_per_minute=requests, tokens_per_minute=tokens, requests_per_day=daily
        )

    @rule(budget=st.none() | st.integers(0, 100))
    def change_budget(self, budget: int | None) -> None:
        """The administrator has another one."""
        self.budget = budget
        if budget is not None:
            self.is_overdrawn |= sum(each.money(budget) for each in self.shards) < 0
        while budget is not None and even_out(self.shards, budget):
            pass

    @precondition(lambda self: len(self.shards) < 8)
    @rule(index=st.integers(0, 7))
    def split(self, index: int) -> None:
        """One of the shards has too much to do."""
        shard = self.shards[index % len(self.shards)]
        self.shards.append(split(shard, self.now))

    @rule(seconds=st.floats(0, 100_000))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @rule(tokens=st.integers(0, 60), cost=st.integers(1, 60), home=st.integers(0, 7))
    def reserve(self, tokens: int, cost: int, home: int) -> None:
        """A request comes to one of the shards."""
        self.n += 1
        home = self.shards[home % len(self.shards)].shard
        asked = reservation(str(self.n), tokens, cost, self.now)
        self.one.take_back_expired(self.now)
        self._shard(home).take_back_expired(self.now)
        try:
            _reserve(self.shards, home, asked, self.limits, self.budget, self.now)
        except RefusedError as error:
            self._check_refusal(error, asked)
            return
        self.running[asked.id] = asked, home
        if not self.is_late and (self.budget is None or not self.is_overdrawn):
            self.one.reserve(asked, self.limits, self.budget, self.now)
        if self.budget is not None and not (self.is_late or self.is_overdrawn):
            assert sum(map(self._spent_and_held, self.shards)) <= self.budget

    def _spent_and_held(self, shard: Counters) -> int:
        """Without what is held for processes that have died: who needs it takes it back."""
        held = shard.reservations.values()
        return shard.spent + sum(each.cost for each in held if each.expires_at > self.now)

    def _check_refusal(self, error: RefusedError, asked: Reservation) -> None:
        """All shards together have no room."""
        whole = merged(self.shards, self.now)
        if isinstance(error, RateLimitedError):
            bucket = whole.buckets["small"][error.name]
            assert bucket.room < asked.units(error.name) * UNIT
        else:
            assert self.budget is not None
            assert whole.spent + whole.held + asked.cost > self.budget

    def _shard(self, index: int) -> Counters:
        return next(each for each in self.shards if each.shard == index)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), share=st.floats(0, 1))
    def settle(self, data: st.DataObject, share: float) -> None:
        """A request ends."""
        asked, home = self.running.pop(data.draw(st.sampled_from(sorted(self.running))))
        self.is_late |= asked.expires_at <= self.now
        tokens = int(asked.tokens * share)
        usage = Usage(1, tokens, 0, asked.tokens - tokens, int(asked.cost * share), 0, 0)
        for counters in (self.one, self._shard(home)):
            counters.settle(asked, GROUP, usage, self.now)
        minute = int(self.now) // 60 * 60
        self.answered[minute] = merged_usage(self.answered.get(minute, {}), {GROUP: usage})

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        """A process dies, and settles nothing."""
        del self.running[data.draw(st.sampled_from(sorted(self.running)))]

    @rule()
    def keep(self) -> None:
        """All are written, and read by somebody else."""
        self.shards = [Counters.of(json.loads(json.dumps(each.to_value()))) for each in self.shards]

    @invariant()
    def sums_are_exact(self) -> None:
        """Nothing is counted twice or lost, and nobody has what others gave away."""
        assert sum(each.borrowed for each in self.shards) == 0
        assert sum(Fraction(1, each.divisor) for each in self.shards) == 1
        whole = merged(self.shards, self.now)
        assert whole.pending == self.answered
        for each in self.shards:
            assert each.held == sum(held.cost for held in each.reservations.values())
            for buckets in each.buckets.values():
                assert all(bucket.held >= 0 and bucket.level >= 0 for bucket in buckets.values())


TestMachine = Machine.TestCase
