"""Budget of a project: what it has spent in the month, and how much of its limit is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared.accounts.ledger.counters import Counters
from shared.accounts.limits import CENT, NANODOLLARS
from shared.accounts.types import Project

_NEAR = 0.8
"""Part of a budget from which on it is said to be nearly spent."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Dollars of a month (UTC). ``held``: reserved by requests. ``limit``: None for none."""

    spent: float
    held: float
    limit: float | None

    @classmethod
    def of(cls, project: Project, counters: Counters, now: float) -> Budget:
        """A project's."""
        cents = project.spend_limit
        return cls(
            counters.spent_in_month(now) / NANODOLLARS,
            counters.held / NANODOLLARS,
            None if cents is None else cents * CENT / NANODOLLARS,
        )

    @property
    def left(self) -> float | None:
        """What can still be spent."""
        return None if self.limit is None else max(self.limit - self.spent - self.held, 0)

    @property
    def percent(self) -> int:
        """How much is spent, in whole percent, at most 100."""
        if not self.limit:
            return 100 if self.limit == 0 else 0
        return min(int(100 * self.spent / self.limit), 100)

    @property
    def level(self) -> Literal["fine", "near", "full"]:
        """How it stands."""
        if self.percent >= 100:
            return "full"
        return "near" if self.percent >= 100 * _NEAR else "fine"
