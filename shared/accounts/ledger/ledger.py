"""Ledger: reserves before a request runs, settles before its last bytes leave.

A project's counters are one record, replaced on condition of its version. Whatever else a process
has to write for the project meanwhile goes into its next write. Of processes whose writes collide
all but one begin anew; where that gets frequent, counters are split in shards.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from shared.accounts.ledger.counters import Counters, LimitName, LimitState, Reservation
from shared.accounts.ledger.usage import (
    Group,
    Usage,
    bounded,
    days,
    merged,
    usage_of,
    usage_to_value,
)
from shared.accounts.limits import RateLimits
from shared.accounts.records import Place, Record, Records
from shared.accounts.types import Clock
from shared.storage.base import StoreError

_ATTEMPTS = 50
_MOST_LINES = 1000
"""Projects whose counters are remembered, tens of kilobytes each at most."""
_LONGEST_PAUSE = 0.1
"""Seconds, random up to that, after writes have collided."""

Change = Callable[[Counters, float], Any]
"""A change of counters at a time; what it returns, or raises, is for whoever asked."""


@dataclass(slots=True)
class _Asked:
    """A change that waits for its write."""

    change: Change
    is_done: threading.Event = field(default_factory=threading.Event)
    result: Any = None
    error: BaseException | None = None
    leads: bool = False


@dataclass(slots=True)
class _Line:
    """Changes of one record that wait. Whoever leads writes those of all."""

    waiting: list[_Asked] = field(default_factory=list)
    has_leader: bool = False
    known: Record | None = None
    """The record as it was last seen, which saves reading it."""


class Ledger:
    """Counters of all projects. Blocking, for several threads. All methods raise `StoreError`."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._lines: dict[Place, _Line] = {}
        self._lock = threading.Lock()

    def reserve(
        self, project_id: str, asked: Reservation, limits: RateLimits, budget: int | None
    ) -> dict[LimitName, LimitState]:
        """Hold what a request may use, or raise `RateLimitedError` or `OverBudgetError`.

        ``budget``: nanodollars a month, None for no limit. Returns what is left of the limits.
        """

        def change(counters: Counters, now: float) -> dict[LimitName, LimitState]:
            return counters.reserve(asked, limits, budget, now)

        found: dict[LimitName, LimitState] = self._make(project_id, change)
        return found

    def settle(self, project_id: str, asked: Reservation, group: Group, used: Usage) -> None:
        """Count what a request has used, and give back the rest of its reservation."""
        self._make(project_id, lambda counters, now: counters.settle(asked, group, used, now))

    def counters(self, project_id: str) -> Counters:
        """A project's counters as they are now."""
        return Counters.of(_value(self._records.get(counters_place(project_id))))

    def usage(
        self, project_id: str, key_prefix: str, start: int, end: int
    ) -> dict[int, dict[Group, Usage]]:
        """Usage by the beginnings of minutes (``m``) or days (``d``) from ``start`` to ``end``."""
        before = self.counters(project_id)
        while True:
            found = self._aggregates(project_id, key_prefix, start, end)
            counters = self.counters(project_id)
            if counters.n_aggregated == before.n_aggregated:
                break  # nothing went from the ones to the others in between
            before = counters
        pending = counters.pending
        recent = pending.items() if key_prefix == "m" else days(pending)
        for begins, groups in recent:
            if start <= begins < end:
                found[begins] = merged(found.get(begins, {}), groups)
        return found

    def _aggregates(
        self, project_id: str, key_prefix: str, start: int, end: int
    ) -> dict[int, dict[Group, Usage]]:
        """Usage that was aggregated."""
        found: dict[int, dict[Group, Usage]] = {}
        partition = usage_place(project_id, key_prefix, 0).partition
        after = usage_place(project_id, key_prefix, start - 1).key
        while page := self._records.list(partition, key_prefix, limit=100, after=after):
            for record in page:
                after = record.place.key
                begins = int(after[1:])
                if begins >= end:
                    return found
                found[begins] = usage_of(record.value["groups"])
        return found

    def _make(self, project_id: str, change: Change) -> Any:
        """Have a change made; what it returns or raises."""
        place = counters_place(project_id)
        asked = _Asked(change)
        with self._lock:
            line = self._lines.pop(place) if place in self._lines else _Line()
            self._lines[place] = line  # the last one
            line.waiting.append(asked)
            asked.leads = not line.has_leader
            line.has_leader = True
            if len(self._lines) > _MOST_LINES:
                self._forget_one()
        if not asked.leads:
            asked.is_done.wait()
        if asked.leads:
            self._lead(project_id, line)
        if asked.error is not None:
            raise asked.error
        return asked.result

    def _forget_one(self) -> None:
        """Forget the project that has been quiet for the longest."""
        quiet = next((each for each, line in self._lines.items() if not line.has_leader), None)
        if quiet is not None:
            del self._lines[quiet]

    def _lead(self, project_id: str, line: _Line) -> None:
        """Write all that waits, the leader's own included, and hand over to who comes next."""
        with self._lock:
            batch, line.waiting = line.waiting, []
        try:
            self._write(project_id, line, batch)
        except BaseException as error:
            line.known = None  # it may have been written
            for asked in batch:
                asked.error = error
        with self._lock:
            heir = line.waiting[0] if line.waiting else None
            line.has_leader = heir is not None
            if heir is not None:
                heir.leads = True
        for asked in batch:
            asked.is_done.set()
        if heir is not None:
            heir.is_done.set()

    def _write(self, project_id: str, line: _Line, batch: list[_Asked]) -> None:
        place = counters_place(project_id)
        for attempt in range(_ATTEMPTS):
            if line.known is None:
                line.known = self._records.get(place) or Record(place, {})
            now = self._clock()
            counters = Counters.of(line.known.value)
            counters.take_back_expired(now)
            for asked in batch:
                asked.result = asked.error = None
                try:
                    asked.result = asked.change(counters, now)
                except Exception as error:
                    asked.error = error
            if all(asked.error is not None for asked in batch):
                if attempt or self._is_current(line, place):
                    return  # there is nothing to write
                continue
            writes = self._aggregated(project_id, counters, now)
            record = replace(line.known, value=counters.to_value())
            if self._records.write([record, *writes]):
                line.known = replace(record, version=record.version + 1)
                return
            line.known = None
            if attempt:
                time.sleep(random.uniform(0, min(0.002 * 2**attempt, _LONGEST_PAUSE)))
        raise StoreError(f"the counters of project '{project_id}' are changed by too many at once")

    def _is_current(self, line: _Line, place: Place) -> bool:
        """Whether nobody refuses by what has changed since it was seen."""
        seen, line.known = line.known, self._records.get(place) or Record(place, {})
        return seen is not None and seen.version == line.known.version

    def _aggregated(self, project_id: str, counters: Counters, now: float) -> list[Record]:
        """The records of minutes and days with the usage of minutes that are over."""
        minutes = counters.take_pending(now)
        added = [
            (usage_place(project_id, "m", minute), groups) for minute, groups in minutes.items()
        ]
        added += [(usage_place(project_id, "d", day), groups) for day, groups in days(minutes)]
        there = self._records.get_all([place for place, _ in added]) if added else {}
        changed: list[Record] = []
        for place, groups in added:
            record = there.get(place) or Record(place, {"groups": []})
            total = bounded(merged(usage_of(record.value["groups"]), groups))
            changed.append(replace(record, value={"groups": usage_to_value(total)}))
        return changed


def counters_place(project_id: str) -> Place:
    """Where a project's counters are."""
    return Place(f"counters:{project_id}", "0")


def usage_place(project_id: str, prefix: str, begins: int) -> Place:
    """Where the usage of a minute (``m``) or a day (``d``) is."""
    return Place(f"usage:{project_id}", f"{prefix}{begins:011d}")


def _value(record: Record | None) -> Any:
    return record.value if record is not None else {}
