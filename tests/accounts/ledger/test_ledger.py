"""Ledger on every store: threads, processes' worth of ledgers, and stores that fail."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import pytest

from shared.accounts.ledger.ledger import Ledger
from shared.accounts.ledger.reservation import OverBudgetError, RateLimitedError
from shared.accounts.ledger.usage import Group, Usage
from shared.accounts.limits import RateLimits
from shared.accounts.records import Place, Record, Records
from shared.storage.base import StoreError
from tests.accounts.clock import Clock
from tests.accounts.conftest import OpenRecords
from tests.accounts.ledger.test_counters import FREE, GROUP, NOW, reservation, used
from tests.accounts.ledger.worker import at_once_or_blocking

PROJECT = "proj_1"


@pytest.fixture
def ledger(records: Records, clock: Clock) -> Ledger:
    """The ledger under test."""
    clock.now = NOW
    return Ledger(records, clock)


def test_what_is_settled_is_counted_once(ledger: Ledger) -> None:
    ledger.reserve(PROJECT, reservation("a", cost=50), FREE, 100)
    assert ledger.counters(PROJECT).held == 50
    ledger.settle(PROJECT, reservation("a", cost=50), GROUP, used(4, 2, cost=20))
    counters = ledger.counters(PROJECT)
    assert (counters.held, counters.spent) == (0, 20)
    minutes = ledger.usage(PROJECT, "m", 0, 2**40)
    assert list(minutes.values()) == [{GROUP: Usage(1, 4, 0, 2, 0, 0, 20)}]


def test_usage_of_minutes_that_are_over_is_aggregated(ledger: Ledger, clock: Clock) -> None:
    begin = int(NOW) // 86400 * 86400
    clock.now = begin + 1.0
    for n in range(5):
        ledger.reserve(PROJECT, reservation(str(n)), FREE, None)
        ledger.settle(PROJECT, reservation(str(n)), GROUP, used(10, 1))
        clock.advance(86400 / 2)
    one = Usage(1, 10, 0, 1)
    minutes = ledger.usage(PROJECT, "m", begin, begin + 10 * 86400)
    assert {minute - begin: groups for minute, groups in minutes.items()} == {
        n * 43200: {GROUP: one} for n in range(5)
    }
    found = ledger.usage(PROJECT, "d", begin, begin + 10 * 86400)
    two = Usage(2, 20, 0, 2)
    assert found == {
        begin: {GROUP: two},
        begin + 86400: {GROUP: two},
        begin + 2 * 86400: {GROUP: one},
    }
    assert ledger.usage(PROJECT, "d", begin + 86400, begin + 2 * 86400) == {
        begin + 86400: {GROUP: two}
    }
    assert len(ledger.counters(PROJECT).pending) == 1


def test_projects_have_counters_of_their_own(ledger: Ledger) -> None:
    limits = RateLimits(requests_per_minute=1)
    ledger.reserve(PROJECT, reservation("a"), limits, None)
    ledger.reserve("proj_2", reservation("a"), limits, None)
    with pytest.raises(RateLimitedError):
        ledger.reserve(PROJECT, reservation("b"), limits, None)


def test_what_others_gave_back_is_seen(open_records: OpenRecords, clock: Clock) -> None:
    clock.now = NOW
    with closing(open_records()) as one, closing(open_records()) as two:
        mine, theirs = Ledger(one, clock), Ledger(two, clock)
        mine.reserve(PROJECT, reservation("a", cost=100), FREE, 100)
        with pytest.raises(OverBudgetError):
            theirs.reserve(PROJECT, reservation("b", cost=1), FREE, 100)
        mine.settle(PROJECT, reservation("a", cost=100), GROUP, used(cost=10))
        theirs.reserve(PROJECT, reservation("b", cost=90), FREE, 100)
        with pytest.raises(OverBudgetError):
            mine.reserve(PROJECT, reservation("c", cost=1), FREE, 100)


def test_many_at_once_are_counted_to_the_token(open_records: OpenRecords, clock: Clock) -> None:
    """Several ledgers, as of several processes, with threads each, and a limit for all."""
    clock.now = NOW
    n_ledgers, n_threads, n_requests = 3, 4, 5
    budget = 40

    def requests(ledger: Ledger, name: str) -> tuple[int, int]:
        """Requests one after the other; how many were answered, and tokens."""
        group = Group(key_id=name, model="small", tier="default")
        answered = tokens = 0
        for n in range(n_requests):
            asked = reservation(f"{name}-{n}", 10, cost=3)
            try:
                reserved = at_once_or_blocking(
                    partial(ledger.reserve, PROJECT, asked, FREE, budget)
                )
            except OverBudgetError:
                continue
            usage = used(n + 1, 1, cost=1)
            at_once_or_blocking(
                partial(ledger.settle, PROJECT, asked, group, usage, reserved.shard)
            )
            answered, tokens = answered + 1, tokens + n + 2
        return answered, tokens

    opened = [open_records() for _ in range(n_ledgers)]
    try:
        ledgers = [Ledger(records, clock) for records in opened]
        with ThreadPoolExecutor(n_ledgers * n_threads) as threads:
            futures = [
                threads.submit(requests, ledger, f"{i}-{j}")
                for i, ledger in enumerate(ledgers)
                for j in range(n_threads)
            ]
            results = [future.result() for future in futures]
        counters = ledgers[0].counters(PROJECT)
        sums = ledgers[0].usage(PROJECT, "d", 0, 2**40)
    finally:
        for records in opened:
            records.close()
    found = [usage for groups in sums.values() for usage in groups.values()]
    n_answered = sum(answered for answered, _ in results)
    assert sum(usage.requests for usage in found) == n_answered
    assert sum(usage.prompt + usage.completion for usage in found) == sum(t for _, t in results)
    assert (counters.spent, counters.held, counters.reservations) == (n_answered, 0, {})
    assert counters.spent <= budget


class _Failing(Records):
    """Records whose writes fail as often as is told, after or before they are made."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self.n_failures = 0
        self.is_late = False

    def get_all(self, places: Sequence[Place]) -> dict[Place, Record]:
        """See `Records.get_all`."""
        return self._records.get_all(places)

    def list(
        self,
        partition: str,
        prefix: str,
        *,
        limit: int,
        after: str | None = None,
        descending: bool = False,
    ) -> Sequence[Record]:
        """See `Records.list`."""
        return self._records.list(
            partition, prefix, limit=limit, after=after, descending=descending
        )

    def write(self, puts: Sequence[Record], removals: Sequence[Record] = ()) -> bool:
        """See `Records.write`."""
        if self.n_failures and not self.is_late:
            self.n_failures -= 1
            raise StoreError("injected")
        is_written = self._records.write(puts, removals)
        if self.n_failures:
            self.n_failures -= 1
            raise StoreError("injected")
        return is_written

    def initialize(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


@pytest.mark.parametrize("is_late", [False, True])
def test_after_a_failure_it_goes_on_with_what_is_there(
    records: Records, clock: Clock, is_late: bool
) -> None:
    clock.now = NOW
    failing = _Failing(records)
    ledger = Ledger(failing, clock)
    ledger.reserve(PROJECT, reservation("a"), FREE, None)
    failing.n_failures, failing.is_late = 1, is_late
    with pytest.raises(StoreError, match="injected"):
        ledger.reserve(PROJECT, reservation("b"), FREE, None)
    ledger.reserve(PROJECT, reservation("b"), FREE, None)  # once, whether or not it was there
    assert sorted(ledger.counters(PROJECT).reservations) == ["a", "b"]
    ledger.settle(PROJECT, reservation("a"), GROUP, used())
    assert sorted(ledger.counters(PROJECT).reservations) == ["b"]


def test_quiet_projects_are_forgotten(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.accounts.ledger.ledger._MOST_PROJECTS", 3)
    for n in (0, 1, 2, 0, 3, 4):
        ledger.settle(f"proj_{n}", reservation(), GROUP, used())
    assert list(ledger._projects) == [f"proj_{n}" for n in (0, 3, 4)]
    for n in range(5):
        ledger.settle(f"proj_{n}", reservation(), GROUP, used())
    for n, requests in enumerate((3, 2, 2, 2, 2)):
        (groups,) = ledger.usage(f"proj_{n}", "d", 0, 2**40).values()
        assert groups[GROUP].requests == requests
