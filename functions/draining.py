"""uvicorn, with a shutdown that keeps answering until running requests have ended."""

from __future__ import annotations

import logging
import time
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from functions.state import ServerState

_log = logging.getLogger("pilotlight")

_CUT_OFF_SECONDS = 2.0
"""For telling the clients of requests that are cut off."""


class DrainingServer(uvicorn.Server):
    """On SIGTERM or SIGINT, new requests get 503 while running ones end within a grace period.

    uvicorn alone would close the listening socket first, and new clients would see a refused
    connection instead of an answer that tells them to try elsewhere. A second signal ends at once.
    """

    def __init__(self, app: ASGIApp, state: ServerState, grace_period: float) -> None:
        """``grace_period`` in seconds."""
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                loop="uvloop",
                http="httptools",
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=1,
            )
        )
        self._state = state
        self._grace_period = grace_period
        self._drain_until: float | None = None
        self._cut_off_until: float | None = None

    def handle_exit(self, _signal: int, _frame: FrameType | None) -> None:
        """Begin to drain at the first signal; cut off what still runs at the second."""
        # Not uvicorn's way: it raises the signal again after the shutdown, as if it had failed.
        if self._drain_until is not None:
            self._drain_until = time.monotonic()
            return
        self._drain_until = time.monotonic() + self._grace_period
        self._state.is_draining = True
        self._state.loader.abandon()
        _log.info(
            "draining: %d requests have %.0f s to end", self._state.n_active, self._grace_period
        )

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second by uvicorn; True ends the server."""
        if self._drain_until is not None:
            self._drain(time.monotonic(), self._drain_until)
        return await super().on_tick(counter)

    def _drain(self, now: float, until: float) -> None:
        if self._state.n_active == 0:
            self.should_exit = True
        elif self._cut_off_until is not None:
            self.should_exit = now >= self._cut_off_until
        elif now >= until:
            _log.warning("%d requests are cut off", self._state.n_active)
            self._cut_off_until = now + _CUT_OFF_SECONDS
            self._state.abort()
