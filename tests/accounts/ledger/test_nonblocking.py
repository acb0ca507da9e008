"""Ledger on an event loop: changes that need no thread, and those that do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.accounts.dynamodb_records import DynamoDBRecords
from shared.accounts.ledger import project_counters
from shared.accounts.ledger.counters import Counters
from shared.accounts.ledger.ledger import Ledger
from shared.accounts.ledger.reservation import OverBudgetError
from shared.accounts.ledger.shard_records import counters_place
from shared.accounts.limits import RateLimits
from shared.accounts.records import Place, Record
from shared.accounts.sqlite_records import SQLiteRecords
from shared.storage.base import StoreError, WouldBlockError
from shared.storage.sqlite import file
from tests.accounts.clock import Clock
from tests.accounts.ledger.test_counters import FREE, GROUP, NOW, reservation, used
from tests.accounts.ledger.worker import at_once_or_blocking

PROJECT = "proj_1"
PLACE = Place("p", "1")
LIMITS = RateLimits(requests_per_minute=1000, tokens_per_minute=10**6)


@pytest.fixture
def records(tmp_path: Path) -> Iterator[SQLiteRecords]:
    """Records of a ledger in a file."""
    path = tmp_path / "accounts.sqlite3"
    with closing(SQLiteRecords(path, survives_power_loss=False)) as records:
        yield records


@pytest.fixture
def ledger(records: SQLiteRecords, clock: Clock) -> Ledger:
    """A ledger that has had its first request, for which it read."""
    clock.now = NOW
    ledger = Ledger(records, clock)
    with pytest.raises(WouldBlockError):
        ledger.reserve(PROJECT, reservation("first"), LIMITS, 1000, blocking=False)
    ledger.reserve(PROJECT, reservation("first"), LIMITS, 1000)
    return ledger


def _kept(records: SQLiteRecords) -> Counters:
    found = records.get(counters_place(PROJECT))
    assert found is not None
    return Counters.of(found.value)


def test_a_request_needs_no_thread(ledger: Ledger, records: SQLiteRecords) -> None:
    asked = reservation("a", 10, cost=50)
    reserved = ledger.reserve(PROJECT, asked, LIMITS, 1000, blocking=False)
    assert _kept(records).reservations.keys() == {"first", "a"}
    ledger.settle(PROJECT, asked, GROUP, used(4, 2, cost=20), reserved.shard, blocking=False)
    assert (_kept(records).held, _kept(records).spent) == (0, 20)


def test_a_refusal_is_made_by_what_is_there_now(
    ledger: Ledger, records: SQLiteRecords, clock: Clock
) -> None:
    asked = reservation("a", cost=2000)
    with pytest.raises(WouldBlockError):
        ledger.reserve(PROJECT, asked, LIMITS, 1000, blocking=False)
    with pytest.raises(OverBudgetError):
        ledger.reserve(PROJECT, asked, LIMITS, 1000)


def test_what_another_process_wrote_is_read_on_a_thread(
    ledger: Ledger, records: SQLiteRecords, clock: Clock
) -> None:
    other = Ledger(records, clock)
    other.reserve(PROJECT, reservation("b", cost=3), LIMITS, 1000)
    with pytest.raises(WouldBlockError):
        ledger.settle(PROJECT, reservation("first"), GROUP, used(1), 0, blocking=False)
    assert _kept(records).reservations.keys() == {"first", "b"}
    ledger.settle(PROJECT, reservation("first"), GROUP, used(1), 0)
    assert _kept(records).reservations.keys() == {"b"}


def test_a_minute_that_is_over_is_aggregated_on_a_thread(ledger: Ledger, clock: Clock) -> None:
    ledger.settle(PROJECT, reservation("first"), GROUP, used(1), 0, blocking=False)
    clock.advance(60)
    with pytest.raises(WouldBlockError):
        ledger.reserve(PROJECT, reservation("a"), LIMITS, 1000, blocking=False)
    ledger.reserve(PROJECT, reservation("a"), LIMITS, 1000)
    ledger.settle(PROJECT, reservation("a"), GROUP, used(2), 0, blocking=False)
    assert (
        sum(u.requests for m in ledger.usage(PROJECT, "m", 0, 2**40).values() for u in m.values())
        == 2
    )


def test_many_reservations_are_carried_on_a_thread(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project_counters, "_MANY_RESERVATIONS", 3)
    for name in "abc":
        ledger.reserve(PROJECT, reservation(name), FREE, None, blocking=name == "c")
    with pytest.raises(WouldBlockError):
        ledger.settle(PROJECT, reservation("a"), GROUP, used(1), 0, blocking=False)


def test_a_write_that_failed_may_have_been_made(
    ledger: Ledger, records: SQLiteRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = records.write_nonblocking

    def fail_late(record: Record) -> bool:
        write(record)
        raise StoreError("the disk is gone")

    with monkeypatch.context() as failing:
        failing.setattr(records, "write_nonblocking", fail_late)
        with pytest.raises(StoreError):
            ledger.reserve(PROJECT, reservation("lost"), LIMITS, 1000, blocking=False)
    assert "lost" in _kept(records).reservations
    with pytest.raises(WouldBlockError):
        ledger.reserve(PROJECT, reservation("a"), LIMITS, 1000, blocking=False)
    ledger.reserve(PROJECT, reservation("a"), LIMITS, 1000)
    assert _kept(records).reservations.keys() == {"first", "a"}


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 400), st.booleans(), st.booleans()),
        max_size=40,
    )
)
def test_what_is_remembered_is_what_is_kept(
    steps: list[tuple[int, int, bool, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Requests of two processes in any order, whichever way: no sum differs, nothing is held."""
    clock = Clock()
    clock.now = NOW
    path = tmp_path_factory.mktemp("ledger") / "accounts.sqlite3"
    spent, open_requests = 0, dict[str, tuple[int, int, int]]()
    with closing(SQLiteRecords(path, survives_power_loss=False)) as records:
        ledgers = [Ledger(records, clock), Ledger(records, clock)]
        for n, (seconds, cost, is_first, settles) in enumerate(steps):
            clock.advance(seconds * 20)
            ledger = ledgers[is_first]
            if settles and open_requests:
                name, (n_tokens, held, shard) = open_requests.popitem()
                asked = reservation(name, n_tokens, cost=held)
                at_once_or_blocking(
                    lambda blocking, asked=asked, held=held, shard=shard, ledger=ledger: (
                        ledger.settle(
                            PROJECT, asked, GROUP, used(1, cost=held), shard, blocking=blocking
                        )
                    )
                )
                spent += held
                continue
            asked = reservation(str(n), cost, cost=cost)
            try:
                reserved = at_once_or_blocking(
                    lambda blocking, asked=asked, ledger=ledger: ledger.reserve(
                        PROJECT, asked, LIMITS, 1000, blocking=blocking
                    )
                )
            except OverBudgetError:
                assert spent + sum(held for _, held, _ in open_requests.values()) + cost > 1000
                continue
            open_requests[str(n)] = (cost, cost, reserved.shard)
        if steps:
            total = ledgers[0].counters(PROJECT)
            assert total.spent == spent
            assert total.reservations.keys() == open_requests.keys()
            assert total.held == sum(held for _, held, _ in open_requests.values())


def test_sqlite_waits_for_no_other_process(records: SQLiteRecords, tmp_path: Path) -> None:
    with pytest.raises(WouldBlockError):  # there is no connection yet
        records.write_nonblocking(Record(PLACE, {"n": 1}))
    assert records.write([Record(PLACE, {"n": 1})])
    with closing(sqlite3.connect(tmp_path / "accounts.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(WouldBlockError):
            records.write_nonblocking(Record(PLACE, {"n": 2}, 1))
        other.execute("ROLLBACK")
    assert records.write_nonblocking(Record(PLACE, {"n": 2}, 1))
    assert not records.write_nonblocking(Record(PLACE, {"n": 3}, 1))  # a version that is gone
    assert records.get(PLACE) == Record(PLACE, {"n": 2}, 2)


def test_sqlite_lets_the_log_be_copied_now_and_then(
    records: SQLiteRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "_MOST_NONBLOCKING", 2)
    assert records.write([Record(PLACE, {})])
    assert records.write_nonblocking(Record(PLACE, {}, 1))
    assert records.write_nonblocking(Record(PLACE, {}, 2))
    with pytest.raises(WouldBlockError):
        records.write_nonblocking(Record(PLACE, {}, 3))
    assert records.write([Record(PLACE, {}, 3)])
    assert records.write_nonblocking(Record(PLACE, {}, 4))


def test_what_survives_a_power_loss_waits_for_the_disk(tmp_path: Path) -> None:
    with closing(SQLiteRecords(tmp_path / "accounts.sqlite3")) as records:
        assert records.write([Record(PLACE, {})])
        with pytest.raises(WouldBlockError):
            records.write_nonblocking(Record(PLACE, {}, 1))


def test_a_write_is_made_also_where_the_next_can_not_be_nonblocking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is told that it failed takes back what is kept, or refuses what was counted."""
    path = tmp_path / "accounts.sqlite3"
    with closing(SQLiteRecords(path, survives_power_loss=False)) as records:
        assert records.get(PLACE) is None  # which leaves a connection for the write

        def refuse(*_: object) -> NoReturn:
            raise StoreError("others take too long to open a file")

        with monkeypatch.context() as patched:
            patched.setattr(records._file, "_open", refuse)
            assert records.write([Record(PLACE, {"n": 1})])
        with pytest.raises(WouldBlockError):
            records.write_nonblocking(Record(PLACE, {"n": 2}, version=1))
        assert records.write([Record(PLACE, {"n": 2}, version=1)])
        assert records.write_nonblocking(Record(PLACE, {"n": 3}, version=2))


def test_no_connection_stays_open_that_was_opened_as_the_store_closed(
    records: SQLiteRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert records.get(PLACE) is None  # which leaves a connection for the write
    opened: list[sqlite3.Connection] = []
    found = records._file._open

    def open_late(budget: file._Budget) -> sqlite3.Connection:
        opened.append(found(budget))
        records.close()
        return opened[-1]

    monkeypatch.setattr(records._file, "_open", open_late)
    assert records.write([Record(PLACE, {"n": 1})])
    (connection,) = opened
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def test_a_closed_store_says_so(records: SQLiteRecords) -> None:
    assert records.write([Record(PLACE, {})])
    records.close()
    with pytest.raises((StoreError, WouldBlockError)):
        records.write_nonblocking(Record(PLACE, {}, 1))


def test_dynamodb_is_asked_on_threads() -> None:
    with closing(DynamoDBRecords("table")) as records, pytest.raises(WouldBlockError):
        records.write_nonblocking(Record(PLACE, {}))


@pytest.mark.parametrize("value", [{"user": "\ud800"}, {"n": 2**70}, {"user": "é", "none": None}])
def test_sqlite_keeps_what_json_has(records: SQLiteRecords, value: dict[str, object]) -> None:
    assert records.write([Record(PLACE, value)])
    assert records.get(PLACE) == Record(PLACE, value, 1)
