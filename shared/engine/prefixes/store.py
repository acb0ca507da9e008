"""What a store of prefixes has to do, and the circuit breaker for one that does not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

_FAILURES = 3
"""In a row, after which a store is left alone."""
_PAUSE = 30.0
"""Seconds for which it is, before one request tries it again."""

IsCancelled = Callable[[], bool]
"""Asked often while something is written: whether to stop."""


class BlockStoreError(Exception):
    """The store does not answer, or not in time; the message says why."""


class BlockStore(Protocol):
    """Files by path. Every method may be called from several threads, and blocks."""

    n_connections: int
    """Calls at once."""
    part_size: int
    """Bytes that one call reads at most: larger files are read in parts, side by side."""

    def read(self, path: str, start: int, into: memoryview, until: float) -> int:
        """Fill ``into`` from byte ``start`` on; how far, which is 0 if there is no such file.

        ``until``: on `time.monotonic`'s clock. Raises `BlockStoreError`.
        """

    def write(self, path: str, parts: Sequence[memoryview], is_cancelled: IsCancelled) -> bool:
        """Write a file, all of it or none; False if there is one, or it was cancelled.

        Raises `BlockStoreError`.
        """

    def discard(self, path: str) -> None:
        """Delete a file that is invalid, where that is allowed."""

    def warm_up(self) -> None:
        """Load what the first call would wait for, without making one."""

    def close(self) -> None:
        """Let go of connections; the next call makes new ones."""


class CircuitBreaker:
    """Keeps from asking a store that has failed several times in a row."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._n_failures = 0
        self._opens_at = 0.0

    def allows(self) -> bool:
        """Whether to ask the store now. After a pause one caller may, and others wait for it."""
        with self._lock:
            if self._n_failures < _FAILURES:
                return True
            if self._clock() < self._opens_at:
                return False
            self._opens_at = self._clock() + _PAUSE
            return True

    def note(self, *, is_failure: bool) -> None:
        """Take how a call went."""
        with self._lock:
            if not is_failure:
                self._n_failures = 0
                return
            self._n_failures += 1
            if self._n_failures >= _FAILURES:
                self._opens_at = self._clock() + _PAUSE
