"""DynamoDB's answers that get lost: what was written is known again, and counted once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from shared.accounts.dynamodb_records import DynamoDBRecords
from shared.accounts.ledger.ledger import Ledger
from shared.accounts.records import Place, Record
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
def records(moto_url: str, proxy: FaultyProxy) -> Iterator[DynamoDBRecords]:
    """Records of the test's own, through the proxy."""
    table = Aws.fresh(moto_url).table
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
