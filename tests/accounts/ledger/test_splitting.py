"""Ledgers of several processes whose project's counters get split while they write them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from shared.accounts.ledger import project_counters
from shared.accounts.ledger.counters import Counters
from shared.accounts.ledger.ledger import Ledger
from shared.accounts.ledger.reservation import OverBudgetError, RateLimitedError
from shared.accounts.ledger.shard_records import ShardRecords, counters_place
from shared.accounts.ledger.usage import Usage
from shared.accounts.limits import RateLimits
from shared.accounts.records import Records
from shared.storage.base import StoreError
from tests.accounts.clock import Clock
from tests.accounts.conftest import OpenRecords
from tests.accounts.ledger.test_counters import FREE, GROUP, NOW, reservation, used
from tests.accounts.ledger.test_ledger import PROJECT, _Failing


@pytest.fixture
def _splits_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write splits its shard."""
    monkeypatch.setattr(project_counters, "_MANY_COLLISIONS", 0)
    monkeypatch.setattr(project_counters, "_SPLIT_SECONDS", 0)


@pytest.fixture
def _holds_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard with three reservations is crowded."""
    monkeypatch.setattr(project_counters, "_MANY_RESERVATIONS", 2)
    monkeypatch.setattr(project_counters, "_CROWDED_SECONDS", 0)


@pytest.fixture
def ledgers(open_records: OpenRecords, clock: Clock) -> Iterator[Sequence[Ledger]]:
    """Ledgers of several processes, on one store."""
    clock.now = NOW
    opened = [open_records() for _ in range(3)]
    yield [Ledger(records, clock) for records in opened]
    for records in opened:
        records.close()


def _shards(records: Records) -> Sequence[Counters]:
    """The shards that there are."""
    found = ShardRecords(records, PROJECT).all()
    return [Counters.of(record.value) for record in found.values()]


@pytest.mark.usefixtures("_splits_always")
def test_many_at_once_on_more_and_more_shards(
    ledgers: Sequence[Ledger], open_records: OpenRecords
) -> None:
    """All that the budget allows is answered, no more, and all of it is counted."""
    n_threads, n_requests, budget = 2, 6, 50

    def requests(ledger: Ledger, name: str) -> int:
        n_answered = 0
        for n in range(n_requests):
            asked = reservation(f"{name}-{n}", 10, cost=2)
            try:
                reserved = ledger.reserve(PROJECT, asked, FREE, budget)
            except OverBudgetError:
                continue
            ledger.settle(PROJECT, asked, GROUP, used(3, 1, cost=2), reserved.shard)
            n_answered += 1
        return n_answered

    with ThreadPoolExecutor(len(ledgers) * n_threads) as threads:
        futures = [
            threads.submit(requests, ledger, f"{i}-{j}")
            for i, ledger in enumerate(ledgers)
            for j in range(n_threads)
        ]
        n_answered = sum(future.result() for future in futures)
    assert n_answered == budget // 2
    counters = ledgers[0].counters(PROJECT)
    assert (counters.spent, counters.held, counters.reservations) == (budget, 0, {})
    (groups,) = ledgers[1].usage(PROJECT, "d", 0, 2**40).values()
    assert groups == {GROUP: Usage(n_answered, 3 * n_answered, 0, n_answered, 0, 0, budget)}
    with closing(open_records()) as records:
        shards = _shards(records)
    assert len(shards) > 6
    assert max(each.divisor for each in shards) > 8


@pytest.mark.usefixtures("_holds_few")
def test_reservations_are_spread_over_shards(
    ledgers: Sequence[Ledger], open_records: OpenRecords
) -> None:
    limits = RateLimits(requests_per_minute=30)
    shards = {}
    for n in range(30):
        asked = reservation(str(n))
        shards[n] = ledgers[n % 2].reserve(PROJECT, asked, limits, None).shard
    with pytest.raises(RateLimitedError):
        ledgers[2].reserve(PROJECT, reservation("x"), limits, None)
    with closing(open_records()) as records:
        held = [len(each.reservations) for each in _shards(records)]
    assert sum(held) == 30
    assert len(held) > 4
    for n, shard in shards.items():
        ledgers[2 - n % 2].settle(PROJECT, reservation(str(n)), GROUP, used(), shard)
    counters = ledgers[0].counters(PROJECT)
    assert counters.reservations == {}
    (bucket,) = counters.buckets["small"].values()
    assert (bucket.held, bucket.remaining) == (0, 0)


@pytest.mark.usefixtures("_splits_always")
def test_a_new_process_begins_with_any_of_the_shards(
    ledgers: Sequence[Ledger], open_records: OpenRecords, clock: Clock
) -> None:
    for n in range(8):
        ledgers[0].settle(PROJECT, reservation(str(n)), GROUP, used())
    with closing(open_records()) as records:
        homes = {
            Ledger(records, clock).reserve(PROJECT, reservation(f"x{n}"), FREE, None).shard
            for n in range(12)
        }
    assert len(homes) > 1


@pytest.mark.usefixtures("_splits_always")
def test_a_lowered_budget_is_divided_anew(ledgers: Sequence[Ledger], clock: Clock) -> None:
    one, other = ledgers[:2]
    for n in range(4):
        asked = reservation(str(n), cost=10)
        shard = one.reserve(PROJECT, asked, FREE, 1000).shard
        one.settle(PROJECT, asked, GROUP, used(cost=10), shard)
    one.lower_budget(PROJECT, 40)
    for ledger in (other, one):
        with pytest.raises(OverBudgetError):
            ledger.reserve(PROJECT, reservation("x", cost=1), FREE, 40)
    one.reserve(PROJECT, reservation("y", cost=1), FREE, 41)


def test_a_shard_that_is_missing_is_no_empty_one(records: Records, clock: Clock) -> None:
    clock.now = NOW
    ledger = Ledger(records, clock)
    ledger.settle(PROJECT, reservation(), GROUP, used())
    first = records.get(counters_place(PROJECT))
    assert first is not None
    shard = {**first.value, "shard": [0, 2, 0, 0]}
    assert records.write([type(first)(first.place, shard, first.version)])
    with pytest.raises(StoreError, match="some counters of project 'proj_1' are missing"):
        Ledger(records, clock).counters(PROJECT)


@pytest.mark.parametrize("is_late", [False, True])
def test_a_reservation_that_nobody_relies_on_is_given_back(
    records: Records, clock: Clock, is_late: bool
) -> None:
    clock.now = NOW
    failing = _Failing(records)
    ledger = Ledger(failing, clock)
    failing.n_failures, failing.is_late = 1, is_late
    with pytest.raises(StoreError, match="injected"):
        ledger.reserve(PROJECT, reservation("a", cost=10), FREE, 10)
    ledger.reserve(PROJECT, reservation("b", cost=10), FREE, 10)
    assert list(ledger.counters(PROJECT).reservations) == ["b"]


def test_what_was_refused_a_moment_ago_is_refused_without_a_call(
    records: Records, clock: Clock
) -> None:
    clock.now = NOW
    ledger, limits = Ledger(records, clock), RateLimits(tokens_per_minute=10)
    ask = reservation("b", 6)
    assert ledger.recent_refusal(PROJECT, ask, limits, None) is None
    ledger.reserve(PROJECT, reservation("a", 5), limits, None)
    with pytest.raises(RateLimitedError) as limited:
        ledger.reserve(PROJECT, ask, limits, None)
    assert ledger.recent_refusal(PROJECT, ask, limits, None) is limited.value
    assert ledger.recent_refusal(PROJECT, reservation("c", 7), limits, None) is limited.value
    assert ledger.recent_refusal(PROJECT, reservation("c", 5), limits, None) is None
    assert ledger.recent_refusal(PROJECT, ask, RateLimits(tokens_per_minute=11), None) is None
    assert ledger.recent_refusal("proj_2", ask, limits, None) is None
    clock.advance(1)
    assert ledger.recent_refusal(PROJECT, ask, limits, None) is None
    with pytest.raises(RateLimitedError):
        ledger.reserve(PROJECT, ask, limits, None)
    ledger.settle(PROJECT, reservation("a", 5), GROUP, used(1, 0), 0)
    assert ledger.recent_refusal(PROJECT, ask, limits, None) is None


def test_a_shard_has_room_for_so_many_reservations(
    records: Records, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.accounts.ledger.ledger._MOST_RESERVATIONS", 2)
    clock.now = NOW
    ledger = Ledger(records, clock)
    for n in range(2):
        ledger.reserve(PROJECT, reservation(str(n)), FREE, None)
    with pytest.raises(StoreError, match="too many requests of project 'proj_1' are in flight"):
        ledger.reserve(PROJECT, reservation("x"), FREE, None)
