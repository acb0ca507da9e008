"""Cost estimates of decodes that hold for some steps: they change slowly, and take their time."""

from __future__ import annotations

from collections.abc import Callable

from shared.engine.row_costs import RowCosts

_HOLD = 8
"""Steps for which an estimate holds."""

RowCost = Callable[[int], float]
"""The time that a batch of so many rows takes, in any unit."""


class CostEstimates:
    """What decodes of a number of rows will take; called with that number."""

    def __init__(self, costs: RowCosts, guess: RowCost | None = None) -> None:
        """``guess``: what is believed before anything is known of ``costs``."""
        self._costs = costs
        self._guess = guess
        self._is_known = False
        self._n_steps = 0
        self._estimates: dict[int, float] = {}

    @property
    def are_known(self) -> bool:
        """Whether the estimates are in seconds."""
        return self._is_known

    def begin_step(self) -> None:
        """Now and then, forget what was estimated."""
        if self._n_steps % _HOLD == 0:
            self._estimates.clear()
            self._is_known = self._costs.is_known
        self._n_steps += 1

    def __call__(self, n_rows: int) -> float:
        estimate = self._estimates.get(n_rows)
        if estimate is None:
            guess = None if self._is_known else self._guess
            estimate = self._costs.expected(n_rows) if guess is None else guess(n_rows)
            self._estimates[n_rows] = estimate
        return estimate
