"""One project on many instances: requests a second, and how often their writes collide.

The ledger as it is, with a thread for each instance, on records in memory whose every call takes a
fixed time: what DynamoDB takes for one, without its limits on capacity. With one shard, and with as
many as the ledger makes.
"""

import random
import threading
import time
from collections.abc import Sequence
from statistics import quantiles
from unittest.mock import patch

from shared.accounts.ledger import project_counters
from shared.accounts.ledger.counters import MOST_SHARDS
from shared.accounts.ledger.ledger import Ledger
from shared.accounts.ledger.reservation import Reservation
from shared.accounts.ledger.usage import Group, Usage
from shared.accounts.limits import RateLimits
from shared.accounts.records import Place, Record, Records
from shared.storage.base import StoreError

_CALL_SECONDS = 0.005
_GENERATION_SECONDS = 0.1
_INSTANCES = (1, 4, 16, 64, 256)
_PROJECT = "proj_1"
_LIMITS = RateLimits(tokens_per_minute=10**12)
_BUDGET = 10**18


class _SlowRecords(Records):
    """Records in memory, for all instances."""

    def __init__(self) -> None:
        self._records: dict[Place, Record] = {}
        self._lock = threading.Lock()
        self.n_reads = self.n_writes = self.n_collisions = 0

    def get_all(self, places: Sequence[Place]) -> dict[Place, Record]:
        """See `Records.get_all`."""
        time.sleep(_CALL_SECONDS)
        with self._lock:
            self.n_reads += len(places)
            return {place: self._records[place] for place in places if place in self._records}

    def list(
        self,
        partition: str,
        prefix: str,
        *,
        limit: int,
        after: str | None = None,
        descending: bool = False,
    ) -> Sequence[Record]:
        """The ledger lists nothing while it counts."""
        raise NotImplementedError

    def write(self, puts: Sequence[Record], removals: Sequence[Record] = ()) -> bool:
        """See `Records.write`."""
        time.sleep(_CALL_SECONDS)
        with self._lock:
            self.n_writes += len(puts)
            for record in (*puts, *removals):
                found = self._records.get(record.place)
                if (found.version if found else 0) != record.version:
                    self.n_collisions += 1
                    return False
            for record in puts:
                self._records[record.place] = Record(record.place, record.value, record.version + 1)
            return True

    def initialize(self) -> None:
        """Nothing is needed."""

    def close(self) -> None:
        """Nothing is open."""


def markdown(seconds: float) -> str:
    """A table with a row for each number of instances."""
    rows = [
        "| instances, a request each | most shards | shards | requests/s | given up | collisions "
        "a request | records read and written a request | reserving and settling, p50 / p95 ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for n_instances in _INSTANCES:
        for most in (1, MOST_SHARDS):
            with patch.object(project_counters, "MOST_SHARDS", most):
                rows.append(_row(n_instances, most, seconds))
    return "\n".join(["## One project on many instances", "", *rows, ""])


def _row(n_instances: int, most: int, seconds: float) -> str:
    records = _SlowRecords()
    took: list[float] = []
    failed: list[StoreError] = []
    end = time.monotonic() + seconds
    threads = [
        threading.Thread(target=_instance, args=(records, f"i{n}", end, took, failed))
        for n in range(n_instances)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counters = Ledger(records, time.time).counters(_PROJECT)
    n = len(took)
    if counters.spent < n or (not failed and (counters.spent > n or counters.held)):
        raise AssertionError(f"{n} requests, but {counters.spent} counted, {counters.held} held")
    n_shards = sum(place.partition.startswith("counters:") for place in records._records)
    cuts = quantiles(took, n=20)
    return (
        f"| {n_instances} | {most} | {n_shards} | {n / seconds:,.0f} "
        f"| {len(failed)} "
        f"| {records.n_collisions / n:.2f} "
        f"| {records.n_reads / n:.1f} + {records.n_writes / n:.1f} "
        f"| {cuts[9] * 1000:.0f} / {cuts[18] * 1000:.0f} |"
    )


def _instance(
    records: Records, name: str, end: float, took: list[float], failed: list[StoreError]
) -> None:
    """One request after the other."""
    ledger = Ledger(records, time.time)
    group = Group(key_id="key", model="small", tier="default")
    n = 0
    while time.monotonic() < end:
        n += 1
        asked = Reservation(
            id=f"{name}-{n}", model="small", tokens=100, cost=2, expires_at=int(time.time()) + 600
        )
        begun = time.monotonic()
        try:
            shard = ledger.reserve(_PROJECT, asked, _LIMITS, _BUDGET).shard
            reserved = time.monotonic()
            time.sleep(_GENERATION_SECONDS * random.uniform(0.5, 1.5))
            settling = time.monotonic()
            ledger.settle(_PROJECT, asked, group, Usage(1, 50, 0, 10, 0, 0, 1), shard)
        except StoreError as error:
            failed.append(error)
            continue
        took.append(reserved - begun + time.monotonic() - settling)


if __name__ == "__main__":
    print(markdown(8))
