"""Graceful shutdown: requests end before their process does.

Knows nothing of signals and servers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.runtime.state import ServerState

_log = logging.getLogger("pilotlight")

_POLL_SECONDS = 0.05
_CUT_OFF_SECONDS = 1.0
"""For telling the clients of requests that are cut off, and storing what these had."""
_UNREAD_SECONDS = 4.0
"""For storing the answers of clients that don't take them: megabytes may be due to be formatted."""


async def shut_down(state: ServerState, grace_period: float) -> None:
    """Graceful shutdown: refuse new requests, and return when none runs any longer.

    What still runs after ``grace_period`` seconds is cut off: clients get an error or an error
    event, and streams that are to be stored are stored with what was sent. That takes five seconds
    more at most, and usually a fraction of one.
    """
    shutdown = GracefulShutdown(state, grace_period)
    shutdown.begin()
    await shutdown.end()


class GracefulShutdown:
    """One shutdown: `begin`, then `end`; `cut_short` cuts the grace period short."""

    def __init__(
        self,
        state: ServerState,
        grace_period: float,
        close_connections: Callable[[], None] = lambda: None,
    ) -> None:
        """``grace_period`` in seconds. ``close_connections``: of clients that don't read."""
        self._state = state
        self._grace_period = grace_period
        self._close_connections = close_connections
        self._until = 0.0
        self._n_begun = 0
        self._stored_before = (0, 0)

    def begin(self) -> None:
        """Refuse new requests from now on."""
        self._until = time.monotonic() + self._grace_period
        self._n_begun = self._state.n_active
        self._stored_before = self._state.metrics.n_stored()
        self._state.is_shutting_down = True
        self._state.models.abandon()
        _log.info(
            "shutting down: %d requests have %.0f s to end", self._n_begun, self._grace_period
        )

    def cut_short(self) -> None:
        """Wait no longer."""
        self._until = time.monotonic()

    async def end(self) -> None:
        """Wait for requests to end, cut off those that don't, and say in the log what became."""
        await self._wait_until(lambda: self._until)
        n_cut_off = self._state.n_active
        if n_cut_off:
            _log.warning("%d requests are cut off", n_cut_off)
            self._state.abort()
            await self._wait(_CUT_OFF_SECONDS)
        if self._state.n_active:
            # Whoever does not read is not sent the error, either.
            self._close_connections()
            await self._wait(_UNREAD_SECONDS)
        if self._state.n_active:
            _log.error("%d requests would not end", self._state.n_active)
        stored, not_stored = self._state.metrics.n_stored()
        _log.info(
            "shut down: %d requests ended, %d were cut off; %d completions stored, %d not",
            max(self._n_begun - n_cut_off, 0),
            n_cut_off,
            stored - self._stored_before[0],
            not_stored - self._stored_before[1],
        )

    async def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        await self._wait_until(lambda: until)

    async def _wait_until(self, moment: Callable[[], float]) -> None:
        """Wait until no request runs, or ``moment``, which may come nearer meanwhile."""
        while self._state.n_active and time.monotonic() < moment():
            await asyncio.sleep(_POLL_SECONDS)
