"""Usage of many users, whom callers name as they like: in bounded records, nothing lost."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from shared.accounts.ledger.aggregates import usage_place
from shared.accounts.ledger.ledger import Ledger
from shared.accounts.ledger.shard_records import counters_place
from shared.accounts.ledger.usage import Group, Usage, bounded, merged, usage_to_value
from shared.accounts.records import Record, Records
from tests.accounts.clock import Clock
from tests.accounts.ledger.test_counters import NOW, reservation, used
from tests.accounts.ledger.test_ledger import PROJECT, _Failing

_ROOM = 400 * 1024
"""Bytes of an item of DynamoDB."""


def _group(n: int, user: str = "\U0001f600" * 256) -> Group:
    return Group(key_id="key_1", model="small", tier="default", user=f"{n}{user}")


def _size(value: object) -> int:
    return len(json.dumps(value))


@pytest.mark.slow
@pytest.mark.parametrize("user", ["", "\U0001f600" * 512])
@pytest.mark.parametrize("n_keys", [1, 10_000])
def test_groups_of_a_record_are_bounded_and_none_is_lost(user: str, n_keys: int) -> None:
    found = [
        Group(key_id=f"key_{n % n_keys:028d}", model="small", tier="default", user=f"{n}{user}")
        for n in range(10_000)
    ]
    kept = bounded(dict.fromkeys(found, Usage(1, *[10**14] * 6)))
    assert _size(usage_to_value(kept)) < _ROOM
    assert merged(kept)[found[0]].requests == 1
    assert sum(usage.requests for usage in kept.values()) == 10_000
    assert bounded(kept) == kept
    more = bounded(merged(kept, {found[0]: Usage(1), found[-1]: Usage(1)}))
    assert more[found[0]].requests == 2
    assert more.keys() == kept.keys()


def test_a_tenant_with_a_user_for_each_request(records: Records, clock: Clock) -> None:
    clock.now = NOW
    ledger = Ledger(records, clock)
    for n in range(80):
        ledger.settle(PROJECT, reservation(str(n)), _group(n), used())
        found = records.get(counters_place(PROJECT))
        assert found is not None
        assert _size(found.value) < 30_000
    begins = int(NOW) // 86400 * 86400
    day = records.get(usage_place(PROJECT, "d", begins))
    assert day is not None
    assert _size(day.value) < _ROOM
    for prefix in ("m", "d"):
        (groups,) = ledger.usage(PROJECT, prefix, 0, 2**40).values()
        assert sum(usage.requests for usage in groups.values()) == 80
        assert groups[_group(0)] == used()


class _Aggregating(_Failing):
    """Records whose usage is aggregated while it is being read."""

    then: Ledger | None = None

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
        found = super().list(partition, prefix, limit=limit, after=after, descending=descending)
        if (ledger := self.then) is not None:
            self.then = None
            ledger.settle(PROJECT, reservation("b"), _group(2), used())
        return found


@pytest.mark.parametrize("prefix", ["m", "d"])
def test_usage_is_all_there_while_it_is_aggregated(
    records: Records, clock: Clock, prefix: str
) -> None:
    clock.now = NOW
    aggregating = _Aggregating(records)
    ledger = Ledger(records, clock)
    ledger.settle(PROJECT, reservation("a"), _group(1), used())
    clock.advance(60)
    aggregating.then = ledger
    found = Ledger(aggregating, clock).usage(PROJECT, prefix, 0, 2**40)
    assert merged(*found.values()) == {_group(1): used(), _group(2): used()}
