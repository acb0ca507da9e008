"""The organization's spend limit, and what all projects together have spent in a month.

No request writes to a counter of all projects, which would be the one that all wait for. Their
spending is summed up when somebody finds the last sum old, so it is late by a minute or so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.accounts.audit_log import Actor, AuditLog
from shared.accounts.documents import (
    ORGANIZATION_PLACE,
    PROJECTS,
    changed,
    organization_of,
    revised,
)
from shared.accounts.ledger.ledger import Ledger
from shared.accounts.ledger.shard_records import counters_place
from shared.accounts.limits import month_of
from shared.accounts.records import Place, Record, Records
from shared.accounts.types import Clock, Organization

_SPENDING_PLACE = Place("organization", "spending")
_PAGE = 100
MAX_AGE = 60.0
"""Seconds after which a sum is old. As long is it left to whoever makes another."""


class OrganizationLimits:
    """What is set for the organization. All methods raise `StoreError`."""

    def __init__(self, records: Records, audit_log: AuditLog) -> None:
        self._records = records
        self._audit_log = audit_log

    def get(self) -> Organization:
        """What is set."""
        return organization_of(self._records.get(ORGANIZATION_PLACE))

    def limit_spending(self, actor: Actor, cents: int | None) -> None:
        """Limit what all projects together may spend in a month; None for no limit."""
        details = {"id": "organization", "changes_requested": {"spend_limit": cents}}

        def change(record: Record | None) -> tuple[Sequence[Record], Sequence[Record]]:
            new = revised(record or Record(ORGANIZATION_PLACE, {}), spend_limit=cents)
            return [new, self._audit_log.event(actor, "organization.updated", details)], []

        changed(self._records, ORGANIZATION_PLACE, change)


@dataclass(frozen=True, slots=True)
class KnownSpending:
    """Nanodollars that the last sum says; ``claim`` is there for who is to make the next."""

    spent: int
    claim: Record | None = None


class OrganizationSpending:
    """What all projects together have spent in the month. All methods raise `StoreError`."""

    def __init__(self, records: Records, ledger: Ledger, clock: Clock) -> None:
        self._records = records
        self._ledger = ledger
        self._clock = clock

    def known(self) -> KnownSpending:
        """The last sum; where it is old, the first to see so is to `renew` it."""
        record = self._records.get(_SPENDING_PLACE)
        if record is None:
            return KnownSpending(self.sum_up())
        now, value = self._clock(), record.value
        spent = value["spent"] if value["month"] == month_of(now) else 0
        # What is of a time to come was written by a clock that was wrong.
        is_new = value["month"] == month_of(now) and 0 <= now - value["summed_at"] < MAX_AGE
        if is_new or 0 <= now - value["claimed_at"] < MAX_AGE:
            return KnownSpending(spent)
        claimed = revised(record, claimed_at=now)
        if not self._records.write([claimed]):
            return KnownSpending(spent)
        return KnownSpending(spent, Record(record.place, claimed.value, record.version + 1))

    def renew(self, claim: Record) -> int:
        """Sum up anew, and write it for the others."""
        now = self._clock()
        spent = self._sum(month_of(now))
        value = {"month": month_of(now), "spent": spent, "summed_at": now, "claimed_at": now}
        self._records.write([revised(claim, **value)])  # else somebody was faster
        return spent

    def sum_up(self) -> int:
        """What has been spent by now, exactly, whatever the last sum was."""
        record = self._records.get(_SPENDING_PLACE)
        return self.renew(record or Record(_SPENDING_PLACE, {}))

    def _sum(self, month: str) -> int:
        spent, after = 0, None
        # Archived projects, too: what they have spent is spent.
        while page := self._records.list(PROJECTS, "", limit=_PAGE, after=after):
            spent += self._spent([record.place.key for record in page], month)
            after = page[-1].place.key
        return spent

    def _spent(self, project_ids: Sequence[str], month: str) -> int:
        """By a page of projects: most have one record of counters each."""
        places = [counters_place(project_id) for project_id in project_ids]
        there = self._records.get_all(places)
        spent = 0
        for project_id, place in zip(project_ids, places, strict=True):
            if (record := there.get(place)) is None:
                continue
            value = record.value
            _, divisor, *_ = value.get("shard", (0, 1))
            if divisor > 1:
                counters = self._ledger.counters(project_id)
                spent += counters.spent if counters.month == month else 0
            else:
                spent += value["spent"] if value["month"] == month else 0
        return spent
