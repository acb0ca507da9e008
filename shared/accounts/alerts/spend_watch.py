"""When the spending of a month is looked at, so that spend alerts cost few reads of the store.

A process need not look again before what it has settled since could have come to the nearest alert,
or 10 s have passed: others may have settled more.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.accounts.limits import CENT, month_of
from shared.accounts.types import SpendAlert

_SECONDS = 10.0
_MOST_OWNERS = 1000
"""Projects that are remembered; one that was forgotten is looked at."""


@dataclass(slots=True)
class _Seen:
    """What a process knows of a project's spending in a month.

    - ``spent``: nanodollars when it looked, at ``looked_at``; None before.
    - ``added``: what it has settled since.
    - ``quiet``: until when nothing is to be done for an alert: it was sent, or is tried again then.
    """

    month: str
    spent: int | None = None
    looked_at: float = 0.0
    added: int = 0
    is_looking: bool = False
    quiet: dict[tuple[str, int], float] = field(default_factory=dict)

    def quiet_until(self, alert: SpendAlert) -> float:
        """Until when nothing is to be done for an alert at its threshold."""
        return self.quiet.get((alert.id, alert.threshold), 0.0)


class SpendWatch:
    """Watch of what projects spend. For several threads."""

    def __init__(self) -> None:
        self._owners: OrderedDict[str, _Seen] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, owner: str, cost: int, now: float) -> None:
        """Count what was settled, in nanodollars."""
        with self._lock:
            self._seen(owner, now).added += cost

    def note(self, owner: str, spent: int, now: float) -> None:
        """Note what was spent, in nanodollars, where it is known without looking."""
        with self._lock:
            self._seen(owner, now).spent = spent

    def begin(self, owner: str, alerts: Sequence[SpendAlert], now: float) -> bool:
        """Whether to look now; then `end` follows, and until then nobody else looks."""
        with self._lock:
            seen = self._seen(owner, now)
            waiting = [each.threshold * CENT for each in alerts if seen.quiet_until(each) <= now]
            if not waiting or seen.is_looking:
                return False
            is_recent = 0 <= now - seen.looked_at < _SECONDS
            if is_recent and seen.spent is not None and seen.spent + seen.added < min(waiting):
                return False
            # What is settled while it looks may be in what it sees, and is counted again.
            seen.is_looking, seen.looked_at, seen.added = True, now, 0
            return True

    def end(self, owner: str, spent: int | None, now: float) -> None:
        """What was spent in the month of ``now``, None where that is not known."""
        with self._lock:
            seen = self._seen(owner, now)
            seen.is_looking = False
            seen.spent = seen.spent if spent is None else spent

    def reached(
        self, owner: str, alerts: Sequence[SpendAlert], spent: int, now: float
    ) -> Sequence[SpendAlert]:
        """Alerts that something is to be done for."""
        with self._lock:
            seen = self._seen(owner, now)
            return [
                alert
                for alert in alerts
                if alert.threshold * CENT <= spent and seen.quiet_until(alert) <= now
            ]

    def quiet(self, owner: str, alert: SpendAlert, until: float, now: float) -> None:
        """Do nothing for an alert until then."""
        with self._lock:
            self._seen(owner, now).quiet[alert.id, alert.threshold] = until

    def _seen(self, owner: str, now: float) -> _Seen:
        month = month_of(now)
        seen = self._owners.get(owner)
        if seen is None or seen.month != month:
            seen = self._owners[owner] = _Seen(month)
            if len(self._owners) > _MOST_OWNERS:
                self._owners.popitem(last=False)
        self._owners.move_to_end(owner)
        return seen
