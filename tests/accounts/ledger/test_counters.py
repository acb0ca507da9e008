"""Counters of a project against a model that keeps every request."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shared.accounts.ledger.counters import Counters
from shared.accounts.ledger.reservation import OverBudgetError, RateLimitedError, Reservation
from shared.accounts.ledger.token_bucket import UNIT
from shared.accounts.ledger.usage import Group, Usage, days, merged
from shared.accounts.limits import RateLimits

NOW = 1_800_000_000.0
GROUP = Group(key_id="key_1", model="small", tier="default")
FREE = RateLimits()


def reservation(name: str = "r", tokens: int = 10, cost: int = 0, at: float = NOW) -> Reservation:
    """A reservation for ten minutes."""
    return Reservation(id=name, model="small", tokens=tokens, cost=cost, expires_at=int(at) + 600)


def used(prompt: int = 4, completion: int = 2, cost: int = 0) -> Usage:
    """What a request came to."""
    return Usage(requests=1, prompt=prompt, completion=completion, completion_cost=cost)


def test_tokens_are_limited_by_what_is_reserved_then_by_what_was_used() -> None:
    counters, limits = Counters(), RateLimits(tokens_per_minute=100)
    state = counters.reserve(reservation("a", 90), limits, None, NOW)["tokens_per_minute"]
    assert (state.limit, state.remaining) == (100, 10)
    with pytest.raises(RateLimitedError) as limited:
        counters.reserve(reservation("b", 20), limits, None, NOW)
    assert (limited.value.name, limited.value.needed) == ("tokens_per_minute", 20)
    assert limited.value.retry_after == 6
    counters.settle(reservation("a", 90), GROUP, used(6, 4), NOW)
    assert counters.reserve(reservation("b", 90), limits, None, NOW)


def test_requests_are_limited_by_minute_and_day() -> None:
    counters = Counters()
    limits = RateLimits(requests_per_minute=2, requests_per_day=3)
    now = NOW
    for n in range(2):
        counters.reserve(reservation(str(n)), limits, None, now)
        counters.settle(reservation(str(n)), GROUP, used(), now)
    with pytest.raises(RateLimitedError) as limited:
        counters.reserve(reservation("x"), limits, None, now)
    assert limited.value.name == "requests_per_minute"
    now += 60
    counters.reserve(reservation("3"), limits, None, now)
    with pytest.raises(RateLimitedError) as limited:
        counters.reserve(reservation("y"), limits, None, now)
    assert limited.value.name == "requests_per_day"


def test_the_budget_counts_what_is_reserved_and_spent() -> None:
    counters = Counters()
    counters.reserve(reservation("a", cost=60), FREE, 100, NOW)
    with pytest.raises(OverBudgetError):
        counters.reserve(reservation("b", cost=50), FREE, 100, NOW)
    counters.settle(reservation("a", cost=60), GROUP, used(cost=10), NOW)
    assert (counters.spent, counters.held) == (10, 0)
    counters.reserve(reservation("b", cost=90), FREE, 100, NOW)


def test_a_month_begins_anew_in_the_midst_of_a_request() -> None:
    counters = Counters()
    counters.reserve(reservation("a", cost=60), FREE, 100, NOW)
    counters.settle(reservation("z"), GROUP, used(cost=40), NOW)
    later = NOW + 32 * 86400
    counters.reserve(reservation("b", cost=40, at=later), FREE, 100, later)  # beside what is held
    counters.settle(reservation("a", cost=60), GROUP, used(cost=7), later)
    assert (counters.spent, counters.held) == (7, 40)
    counters.settle(reservation("b", cost=40), GROUP, used(cost=1), NOW)  # its clock is behind
    assert (counters.spent, counters.held) == (8, 0)


def test_a_refusal_changes_nothing() -> None:
    counters = Counters()
    limits = RateLimits(requests_per_minute=5, tokens_per_minute=10)
    counters.reserve(reservation("a", 10), limits, None, NOW)
    before = counters.to_value()
    with pytest.raises(RateLimitedError):
        counters.reserve(reservation("b", 1), limits, None, NOW)
    with pytest.raises(OverBudgetError):
        counters.reserve(reservation("b", 0, cost=1), limits, 0, NOW)
    assert counters.to_value() == before


def test_reserving_twice_is_reserving_once() -> None:
    counters, limits = Counters(), RateLimits(tokens_per_minute=15)
    for _ in range(2):
        counters.reserve(reservation("a", 10), limits, None, NOW)
    assert counters.buckets["small"]["tokens_per_minute"].held == 10 * UNIT


def test_what_a_dead_process_reserved_is_taken_back() -> None:
    counters, limits = Counters(), RateLimits(tokens_per_minute=10, requests_per_minute=1)
    counters.reserve(reservation("a", 10, cost=5), limits, None, NOW)
    counters.take_back_expired(NOW + 599)
    assert counters.held == 5
    counters.take_back_expired(NOW + 600)
    assert (counters.held, counters.reservations) == (0, {})
    counters.reserve(reservation("b", 10), limits, None, NOW + 600)
    counters.settle(reservation("a", 10, cost=5), GROUP, used(cost=3), NOW + 601)  # it lived on
    assert (counters.held, counters.spent) == (0, 3)


def test_limits_may_come_and_go_while_requests_run() -> None:
    counters = Counters()
    counters.reserve(reservation("a"), FREE, None, NOW)
    counters.reserve(reservation("b"), RateLimits(tokens_per_minute=100), None, NOW)
    counters.settle(reservation("a"), GROUP, used(), NOW)
    assert counters.buckets["small"]["tokens_per_minute"].held == 10 * UNIT
    counters.reserve(reservation("c"), FREE, None, NOW)
    counters.settle(reservation("b"), GROUP, used(), NOW)
    counters.reserve(reservation("d"), FREE, None, NOW)
    assert counters.buckets["small"] == {}


@dataclass
class _Request:
    """A request that runs, as the model has it."""

    reserved: Reservation


class Machine(RuleBasedStateMachine):
    """Requests come, end, die; limits and months change. Sums are those of what was answered."""

    def __init__(self) -> None:
        super().__init__()
        self.counters = Counters()
        self.now = NOW
        self.running: dict[str, Reservation] = {}
        self.answered: list[tuple[int, Group, Usage]] = []
        self.aggregated: dict[int, dict[Group, Usage]] = {}
        self.limits = FREE
        self.budget: int | None = None
        self.n = 0

    @rule(seconds=st.floats(0, 100_000))
    def wait(self, seconds: float) -> None:
        """Time passes; what has expired is taken back."""
        self.now += seconds
        self.counters.take_back_expired(self.now)

    @rule(
        requests=st.none() | st.integers(1, 5),
        tokens=st.none() | st.integers(1, 100),
        daily=st.none() | st.integers(1, 5),
        budget=st.none() | st.integers(0, 100),
    )
    def change_limits(
        self, requests: int | None, tokens: int | None, daily: int | None, budget: int | None
    ) -> None:
        """The administrator has other limits."""
        self.budget = budget
        self.limits = RateLimits(
            requests_per_minute=requests, tokens_per_minute=tokens, requests_per_day=daily
        )

    @rule(tokens=st.integers(0, 60), cost=st.integers(0, 60))
    def reserve(self, tokens: int, cost: int) -> None:
        """A request comes."""
        self.n += 1
        asked = reservation(str(self.n), tokens, cost, self.now)
        try:
            self.counters.reserve(asked, self.limits, self.budget, self.now)
        except (RateLimitedError, OverBudgetError):
            return
        self.running[asked.id] = asked
        if self.budget is not None:
            assert self.counters.spent + self.counters.held <= self.budget

    @precondition(lambda self: self.running)
    @rule(data=st.data(), share=st.floats(0, 1), key=st.sampled_from(["one", "two"]))
    def settle(self, data: st.DataObject, share: float, key: str) -> None:
        """A request ends."""
        asked = self.running.pop(data.draw(st.sampled_from(sorted(self.running))))
        tokens = int(asked.tokens * share)
        usage = Usage(1, tokens, 0, asked.tokens - tokens, int(asked.cost * share), 0, 0)
        group = Group(key_id=key, model="small", tier="default")
        self.counters.settle(asked, group, usage, self.now)
        self.answered.append((int(self.now) // 60 * 60, group, usage))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        """A process dies, and settles nothing."""
        del self.running[data.draw(st.sampled_from(sorted(self.running)))]

    @rule()
    def aggregate(self) -> None:
        """Somebody writes down the usage of minutes that are over."""
        for minute, groups in self.counters.take_pending(self.now).items():
            self.aggregated[minute] = merged(self.aggregated.get(minute, {}), groups)

    @rule()
    def keep(self) -> None:
        """It is written, and read by somebody else."""
        self.counters = Counters.of(json.loads(json.dumps(self.counters.to_value())))

    @invariant()
    def sums_are_exact(self) -> None:
        """Usage by minute and day is that of the answers; what is held is what is reserved."""
        expected: dict[int, dict[Group, Usage]] = {}
        for minute, group, usage in self.answered:
            expected[minute] = merged(expected.get(minute, {}), {group: usage})
        found = dict(self.aggregated)
        for minute, groups in self.counters.pending.items():
            found[minute] = merged(found.get(minute, {}), groups)
        assert found == expected
        assert dict(days(found)) == dict(days(expected))
        live = self.counters.reservations.values()
        assert self.counters.held == sum(each.cost for each in live)
        for model, buckets in self.counters.buckets.items():
            for name, bucket in buckets.items():
                assert bucket.held == sum(r.parts().get(name, 0) for r in live if r.model == model)
                assert bucket.level >= 0


TestMachine = Machine.TestCase
