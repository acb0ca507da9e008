"""Ledger: reserves before a request runs, settles before its last bytes leave.

A project's counters are one record, or several shards where it is busy, see
`shared.accounts.ledger.project_counters`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from shared.accounts.ledger.aggregates import read_aggregates
from shared.accounts.ledger.counters import Counters
from shared.accounts.ledger.project_counters import ProjectCounters
from shared.accounts.ledger.reservation import LimitName, LimitState, RefusedError, Reservation
from shared.accounts.ledger.shards import Shards
from shared.accounts.ledger.usage import Group, Usage, days, merged
from shared.accounts.limits import RateLimits
from shared.accounts.records import Records
from shared.accounts.types import Clock
from shared.storage.base import StoreError

_MOST_PROJECTS = 1000
"""Projects whose counters are remembered, tens of kilobytes each at most."""
_MOST_RESERVATIONS = 2000
"""In a shard, 150 bytes each; DynamoDB's records have 400 KB."""

_REFUSAL_SECONDS = 1.0
"""What callers are told to wait at least."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """What is left of the limits after a reservation, and the shard that it is in."""

    states: dict[LimitName, LimitState]
    shard: int


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A request that was refused, for which that is remembered ``until`` then."""

    until: float
    asked: Reservation
    limits: RateLimits
    budget: int | None
    error: RefusedError

    def holds_for(
        self, asked: Reservation, limits: RateLimits, budget: int | None, now: float
    ) -> bool:
        """Whether another request would be refused as well."""
        before = self.asked
        return (
            self.until - _REFUSAL_SECONDS <= now < self.until
            and (limits, budget, asked.model) == (self.limits, self.budget, before.model)
            and asked.tokens >= before.tokens
            and asked.cost >= before.cost
        )


class Ledger:
    """Counters of all projects. Blocking, for several threads. All methods raise `StoreError`."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._projects: dict[str, ProjectCounters] = {}
        self._refusals: dict[str, _Refusal] = {}
        self._lock = threading.Lock()

    def reserve(
        self,
        project_id: str,
        asked: Reservation,
        limits: RateLimits,
        budget: int | None,
        *,
        blocking: bool = True,
    ) -> Reserved:
        """Hold what a request may use, or raise `RateLimitedError` or `OverBudgetError`.

        - ``budget``: nanodollars a month, None for no limit.
        - ``blocking``: False raises `WouldBlockError`, with nothing held, where it takes longer
          than an event loop may.
        """

        def change(shards: Shards, now: float) -> Reserved:
            if len(shards.home.reservations) >= _MOST_RESERVATIONS:
                raise StoreError(f"too many requests of project '{project_id}' are in flight")
            states = shards.reserve(asked, limits, budget, now)
            return Reserved(states, shards.home.shard)

        try:
            project = self._project(project_id)
            make = project.make if blocking else project.make_nonblocking
            reserved: Reserved = make(change, reservation_id=asked.id)
        except RefusedError as error:
            until = self._clock() + _REFUSAL_SECONDS
            self._refusals[project_id] = _Refusal(until, asked, limits, budget, error)
            raise
        return reserved

    def recent_refusal(
        self, project_id: str, asked: Reservation, limits: RateLimits, budget: int | None
    ) -> RefusedError | None:
        """The error of a request that asked for no more and was refused a moment ago.

        Nothing is read: whoever goes on sending what is refused costs no call of the store, and no
        work of the engine before the store has answered.
        """
        refusal = self._refusals.get(project_id)
        if refusal is None or not refusal.holds_for(asked, limits, budget, self._clock()):
            return None
        return refusal.error

    def settle(
        self,
        project_id: str,
        asked: Reservation,
        group: Group,
        used: Usage,
        shard: int | None = None,
        *,
        blocking: bool = True,
    ) -> None:
        """Count what a request has used, and give back the rest of its reservation.

        - ``shard``: where it is reserved; None if nothing was.
        - ``blocking``: as of `reserve`; with `WouldBlockError` nothing is counted.
        """
        self._refusals.pop(project_id, None)  # there may be room now
        project = self._project(project_id)
        make = project.make if blocking else project.make_nonblocking
        make(lambda shards, now: shards.home.settle(asked, group, used, now), shard)

    def lower_budget(self, project_id: str, budget: int) -> None:
        """Let no shard spend what another one has spent already; ``budget``: nanodollars."""
        self._project(project_id).even_out(budget)

    def counters(self, project_id: str) -> Counters:
        """A project's counters as they are now, all shards together."""
        return self._project(project_id).total()

    def usage(
        self, project_id: str, key_prefix: str, start: int, end: int
    ) -> dict[int, dict[Group, Usage]]:
        """Usage by the beginnings of minutes (``m``) or days (``d``) from ``start`` to ``end``."""
        before = self.counters(project_id)
        while True:
            found = read_aggregates(self._records, project_id, key_prefix, start, end)
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

    def _project(self, project_id: str) -> ProjectCounters:
        """A project's counters, which are remembered."""
        with self._lock:
            project = self._projects.pop(project_id, None)
            if project is None:
                project = ProjectCounters(self._records, self._clock, project_id)
            self._projects[project_id] = project  # the last one
            if len(self._projects) > _MOST_PROJECTS:
                self._forget_one()
        return project

    def _forget_one(self) -> None:
        """Forget the project that has been quiet for the longest."""
        quiet = next((each for each, project in self._projects.items() if project.is_quiet), None)
        if quiet is not None:
            del self._projects[quiet]
            self._refusals.pop(quiet, None)
