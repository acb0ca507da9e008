"""Writes under way for one request, which are over before its response is.

A function is frozen once its response has ended. What is not written by then is given up.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future


class Writes:
    """What is written for one request. The engine's thread adds, the event loop waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._futures: list[Future[int]] = []
        self._is_closed = False
        self._until: float | None = None

    def add(self, start: Callable[[], Future[int]], *, is_part: bool = False) -> None:
        """Begin to write something, which says how many tokens it was; after the end nothing.

        ``is_part``: of something that has not ended, and so is waited for.
        """
        with self._lock:
            if is_part or not self._is_closed:
                self._futures.append(start())

    def is_cancelled(self) -> bool:
        """Whether what has not ended has to stop."""
        return self._until is not None and time.monotonic() > self._until

    async def end(self, seconds: float) -> int:
        """Wait until all is written, or stop it after ``seconds``; how many tokens were."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._until = time.monotonic() + seconds
        while pending := self._pending():
            waiting = [asyncio.wrap_future(future) for future in pending]
            remaining = (self._until or 0) - time.monotonic()
            if remaining > 0:
                await asyncio.wait(waiting, timeout=remaining)
                continue
            for future in pending:
                future.cancel()  # which does so only before it has begun
            await asyncio.wait(waiting)
        return self.n_tokens

    @property
    def n_tokens(self) -> int:
        """Tokens that were written so far."""
        ended = [f for f in self._futures if f.done() and not f.cancelled()]
        return sum(future.result() for future in ended if future.exception() is None)

    def _pending(self) -> list[Future[int]]:
        with self._lock:
            return [future for future in self._futures if not future.done()]
