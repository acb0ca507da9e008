"""Cost estimates of decodes that hold for some steps: they change slowly, and take their time."""

from __future__ import annotations

from collections.abc import Callable

from shared.engine.batching.row_costs import RowCosts

_HOLD = 8
"""Steps for which an estimate holds."""
_TILE = 4
"""Rows that kernels mostly compute at once, or divisors of that."""
_TRIED = 3
"""Decodes of a number of rows from which on it is judged by what they took."""

RowCost = Callable[[int], float]
"""The time that a batch of so many rows takes, in any unit."""


class CostEstimates:
    """What decodes of a number of rows will take; called with that number.

    A number that was hardly tried is taken to be as slow as the next multiple of what kernels
    compute at once. So those are tried first, and others only where drafts are just so long: each
    number that is slower than it seemed costs some steps until that is known.
    """

    def __init__(self, costs: RowCosts, guess: RowCost | None = None) -> None:
        """``guess``: what is believed before anything is known of ``costs``."""
        self._costs = costs
        self._guess = guess
        self._is_known = False
        self._n_steps = 0
        self._n_tries = 0
        self._estimates: dict[int, float] = {}

    @property
    def are_known(self) -> bool:
        """Whether the estimates are in seconds."""
        return self._is_known

    @property
    def n_rows_sensible(self) -> int:
        """See `RowCosts.n_rows_sensible`."""
        return self._costs.n_rows_sensible

    def begin_step(self) -> bool:
        """Now and then, forget what was estimated; whether this was such a time.

        And whenever something was tried of which little is known.
        """
        is_time = self._n_steps % _HOLD == 0 or self._n_tries != self._costs.n_tries
        if is_time:
            self._n_tries = self._costs.n_tries
            self._estimates.clear()
            self._is_known = self._costs.is_known
        self._n_steps += 1
        return is_time

    def __call__(self, n_rows: int) -> float:
        estimate = self._estimates.get(n_rows)
        if estimate is None:
            guess = None if self._is_known else self._guess
            estimate = self._expected(n_rows) if guess is None else guess(n_rows)
            self._estimates[n_rows] = estimate
        return estimate

    def _expected(self, n_rows: int) -> float:
        if n_rows > 1 and self._costs.n_observed(n_rows) < _TRIED:
            n_rows = -(-n_rows // _TILE) * _TILE
        return self._costs.expected(n_rows)
