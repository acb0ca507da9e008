"""Circuit breaker of an upstream model: no requests for a while to one that fails again and again.

Callers have their error, or another model's answer, at once, and who recovers is not flooded.
https://learn.microsoft.com/azure/architecture/patterns/circuit-breaker
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SHORTEST_SECONDS = 5.0
_LONGEST_SECONDS = 120.0
"""That it stays open: the first time, and at most, since it doubles with each trial that fails."""


class Attempt:
    """An attempt to have an answer, which tells how it went."""

    has_succeeded: bool | None = None
    """None where it says nothing of the upstream, such as one that the caller ended."""

    def __init__(self, *, is_trial: bool) -> None:
        self.is_trial = is_trial
        """Whether others wait for how it goes."""


class CircuitBreaker:
    """State of one upstream model, as one process knows it."""

    def __init__(self, max_failures: int, clock: Callable[[], float] = time.monotonic) -> None:
        """``max_failures`` in a row open it; 0 for never."""
        self._max_failures = max_failures or math.inf
        self._clock = clock
        self._n_failures = 0
        self._seconds = 0.0
        self._open_until = 0.0
        self._is_on_trial = False

    @property
    def open_seconds(self) -> float:
        """Seconds for which nothing should be asked; 0 where it may."""
        if self._n_failures < self._max_failures:
            return 0.0
        left = self._open_until - self._clock()
        return max(left, _SHORTEST_SECONDS if self._is_on_trial else 0.0)

    @contextmanager
    def attempt(self) -> Iterator[Attempt]:
        """An attempt; only where `open_seconds` is 0. After a time open, one alone is a trial."""
        attempt = Attempt(is_trial=self._n_failures >= self._max_failures)
        self._is_on_trial = attempt.is_trial
        try:
            yield attempt
        finally:
            if attempt.is_trial:
                self._is_on_trial = False
            if attempt.has_succeeded:
                self._n_failures, self._seconds = 0, 0.0
            elif attempt.has_succeeded is False:
                self._fail(is_trial=attempt.is_trial)

    def note_first_byte(self, attempt: Attempt) -> None:
        """Let others ask, too, where a trial's answer has begun: a stream may take minutes.

        One more failure, of whichever attempt, opens it again.
        """
        if attempt.is_trial:
            attempt.is_trial = self._is_on_trial = False
            self._n_failures = int(self._max_failures) - 1

    def _fail(self, *, is_trial: bool) -> None:
        self._n_failures += 1
        # Others that were under way when it opened tell nothing new.
        if self._n_failures == self._max_failures or is_trial:
            self._seconds = min(max(2 * self._seconds, _SHORTEST_SECONDS), _LONGEST_SECONDS)
            self._open_until = self._clock() + self._seconds
