"""Deliveries of spend alerts: once a month and alert, by one process at a time.

At least once: a process that dies after sending has not written so, and the event is sent again
with its id. Whoever claims it first fixes what it says.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from shared.accounts.alerts.event import AlertEvent
from shared.accounts.documents import revised
from shared.accounts.limits import month_of
from shared.accounts.records import Place, Record, Records
from shared.accounts.types import Clock, Project, SpendAlert

MOST_ATTEMPTS = 12
"""The last one about 15 hours after the first, where there are requests all the time."""
_FIRST_PAUSE = 30.0
_LONGEST_PAUSE = 6 * 3600.0
"""Seconds between attempts, twice as long each time. As long a claim holds."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event that is to be sent now, by whoever has claimed it.

    - ``attempt``: from 1 on.
    - ``delivered``: channels that have it already.
    - ``retry_at``: when others may try, unless all have it.
    """

    event: AlertEvent
    attempt: int
    delivered: Sequence[str]
    retry_at: float
    record: Record

    @property
    def is_last(self) -> bool:
        """Whether it is given up where this attempt fails."""
        return self.attempt >= MOST_ATTEMPTS


class Deliveries:
    """Deliveries of all alerts. All methods raise `StoreError`."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    def claim(self, alert: SpendAlert, project: Project | None, spent: int) -> Delivery | float:
        """The delivery of an alert in this month, or when there may be something to do again.

        ``spent``: nanodollars in the month.
        """
        now = self._clock()
        month = month_of(now)
        owner = "organization" if project is None else project.id
        place = Place(f"alert_deliveries:{owner}", f"{month}:{alert.id}:{alert.threshold}")
        found = self._records.get(place)
        record = found or Record(
            place,
            {
                "event_id": f"evt_{secrets.token_hex(16)}",
                "created_at": int(now),
                "spent": spent,
                "claimed_at": 0.0,
                "attempts": 0,
                "delivered": [],
                "is_over": False,
            },
        )
        value = record.value
        if value["is_over"]:
            return float("inf")
        retry_at: float = value["claimed_at"] + _pause(value["attempts"])
        # A claim of a time to come is one of a clock that was wrong.
        if value["attempts"] and value["claimed_at"] <= now < retry_at:
            return retry_at
        claimed = revised(record, claimed_at=now, attempts=value["attempts"] + 1)
        if not self._records.write([claimed]):
            return now + _FIRST_PAUSE
        event = AlertEvent(
            id=value["event_id"],
            created_at=value["created_at"],
            alert=alert,
            project=project,
            month=month,
            spent=value["spent"],
        )
        attempt = claimed.value["attempts"]
        written = Record(place, claimed.value, record.version + 1)
        return Delivery(event, attempt, value["delivered"], now + _pause(attempt), written)

    def note(self, delivery: Delivery, delivered: Sequence[str], *, is_over: bool) -> None:
        """Write which channels have an event; ``is_over``: no more attempts."""
        # Whoever has claimed it meanwhile will write the same.
        self._records.write([revised(delivery.record, delivered=list(delivered), is_over=is_over)])


def _pause(attempts: int) -> float:
    return min(_FIRST_PAUSE * 2.0 ** (attempts - 1), _LONGEST_PAUSE)
