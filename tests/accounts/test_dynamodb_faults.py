"""DynamoDB's answers that get lost: what was written is known again, and counted once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from shared.accounts.dynamodb_records import DynamoDBRecords
from shared.accounts.ledger.ledger import Ledger
from shared.accounts.records import Place, Record
from shared.storage.base import StoreError
from tests.accounts.clock import Clock
from tests.accounts.ledger.test_counters import FREE, GROUP, NOW, reservation, used
from tests.storage.dynamodb.aws import PATIENT, Aws, new_session
from tests.storage.dynamodb.faults import Fault, FaultyProxy

LOST = Fault("reset", is_late=True)


@pytest.fixture
def proxy(moto_url: str) -> Iterator[FaultyProxy]:
    """Between the records and moto's server."""
    with FaultyProxy(moto_url).serving() as proxy:
        yield proxy


@pytest.fixture
def table(moto_url: str) -> str:
    """The test's own."""
    return Aws.fresh(moto_url).table


@pytest.fixture
def records(table: str, proxy: FaultyProxy) -> Iterator[DynamoDBRecords]:
    """Records through the proxy."""
    session = new_session()
    with closing(
        DynamoDBRecords(table, retries=PATIENT, session=session, endpoint_url=proxy.url)
    ) as records:
        records.initialize()
        proxy.reset()
        yield records


def _lose_each_first_answer(proxy: FaultyProxy) -> None:
    proxy.reset(lambda number, name: LOST if number % 2 == 0 else None)


def test_a_write_whose_answer_is_lost_was_made(
    records: DynamoDBRecords, proxy: FaultyProxy
) -> None:
    _lose_each_first_answer(proxy)
    place = Place("letters", "a")
    assert records.write([Record(place, {"n": 1})])
    assert records.write([Record(place, {"n": 2}, 1)])
    assert not records.write([Record(place, {"n": 3}, 1)])
    assert records.get(place) == Record(place, {"n": 2}, 2)
    assert records.write([Record(place, {"n": 4}, 2), Record(Place("letters", "b"), {})])
    assert records.get(place) == Record(place, {"n": 4}, 3)


def test_a_request_is_counted_once(
    records: DynamoDBRecords, proxy: FaultyProxy, clock: Clock
) -> None:
    clock.now = NOW
    ledger = Ledger(records, clock)
    _lose_each_first_answer(proxy)
    for n in range(3):
        asked = reservation(str(n), cost=5)
        ledger.reserve("proj_1", asked, FREE, 100)
        ledger.settle("proj_1", asked, GROUP, used(4, 2, cost=3))
    counters = ledger.counters("proj_1")
    assert (counters.spent, counters.held, counters.reservations) == (9, 0, {})


@pytest.fixture
def others(records: DynamoDBRecords, table: str, moto_url: str) -> Iterator[DynamoDBRecords]:
    """Another process's records, which lose no answers."""
    session = new_session()
    with closing(
        DynamoDBRecords(table, retries=PATIENT, session=session, endpoint_url=moto_url)
    ) as others:
        yield others


def _meanwhile(proxy: FaultyProxy, work: Callable[[], None]) -> None:
    """Lose the answer to the first write, and do ``work`` before the second attempt."""

    def plan(number: int, name: str) -> Fault | None:
        if name == "PutItem" and number == first:
            return LOST
        if name == "PutItem" and number == first + 1:
            work()
        return None

    first = 0
    proxy.reset(plan)


@pytest.mark.parametrize("n_others", [1, 5])
def test_a_request_is_counted_once_though_others_write_before_that_is_known(
    records: DynamoDBRecords,
    others: DynamoDBRecords,
    proxy: FaultyProxy,
    clock: Clock,
    n_others: int,
) -> None:
    clock.now = NOW
    ledger, other = Ledger(records, clock), Ledger(others, clock)
    ledger.settle("proj_1", reservation("first"), GROUP, used(4, 2, cost=3))

    def count() -> None:
        for n in range(n_others):
            other.settle("proj_1", reservation(f"other-{n}"), GROUP, used(4, 2, cost=3))

    _meanwhile(proxy, count)
    ledger.settle("proj_1", reservation("second"), GROUP, used(4, 2, cost=3))
    assert other.counters("proj_1").spent == (2 + n_others) * 3


def test_a_write_that_nobody_can_tell_of_is_no_collision(
    records: DynamoDBRecords, others: DynamoDBRecords, proxy: FaultyProxy
) -> None:
    """Who takes it for one makes the change twice."""
    place = Place("letters", "a")
    records.write([Record(place, {"n": 0})])

    def write() -> None:
        for n in range(2, 42):
            assert others.write([Record(place, {"n": n}, n)])

    _meanwhile(proxy, write)
    with pytest.raises(StoreError, match="lost"):
        records.write([Record(place, {"n": 1}, 1)])
