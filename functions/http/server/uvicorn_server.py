"""uvicorn, with a shutdown that keeps answering until running requests have ended."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from starlette.types import ASGIApp

from functions.http.cors import CrossOriginPolicy
from functions.http.server.connection_limits import ConnectionLimits, ConnectionState
from functions.http.server.protocol import LimitedHttpProtocol
from shared.runtime.shutdown import GracefulShutdown
from shared.runtime.state import ServerState

if TYPE_CHECKING:
    from shared.engine.engine import Engine

_log = logging.getLogger("pilotlight")

_TICK_SECONDS = 0.1
"""As long as uvicorn's own."""


class GracefulServer(uvicorn.Server):
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
                http=LimitedHttpProtocol,
                ws="none",
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=1,
            )
        )
        self.server_state: ConnectionState = ConnectionState(
            ConnectionLimits.of(state.settings), CrossOriginPolicy.of(state.settings)
        )
        # What is active without a connection, as a response in the background, counts, too.
        state.n_begun = lambda: max(len(self.server_state.tasks), state.n_active)
        self._shutdown = GracefulShutdown(state, grace_period, self._close_connections)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_shutting_down = False
        self._failure = ""
        self._end: asyncio.Task[None] | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until the shutdown has ended."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def handle_exit(self, _signal: int, _frame: FrameType | None) -> None:
        """Begin the shutdown at the first signal; cut off what still runs at the second.

        On the event loop: a signal interrupts the main thread anywhere, also where it has the lock
        of a counter that the shutdown reads, and would then wait for itself.
        """
        # Not uvicorn's way: it raises the signal again after the shutdown, as if it had failed.
        if self._loop is None:
            self._shut_down()
            return
        with suppress(RuntimeError):  # the loop is closed: the server has ended
            self._loop.call_soon_threadsafe(self._shut_down)

    def _shut_down(self) -> None:
        if self._is_shutting_down:
            self._shutdown.cut_short()
            return
        self._is_shutting_down = True
        self._shutdown.begin()

    def end_with(self, engine: Engine) -> None:
        """Wait for the engine's end, on a thread. If it died, requests are told, and serving ends.

        Whoever watches over the process can start another one, and not another engine in it.
        """
        if engine.wait():
            self.fail("the engine has died")

    def fail(self, problem: str) -> None:
        """Shut down for a ``problem``, which the log and the exit status tell."""
        self._failure = problem
        self.handle_exit(signal.SIGTERM, None)

    def exit_status(self) -> int:
        """The process's, once the server has ended; the log says what is the matter."""
        if self._failure:
            _log.error("%s: the process ends, for another to be started", self._failure)
            return 1
        return 0

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second by uvicorn; True ends the server."""
        self.server_state.check(asyncio.get_running_loop().time())
        if self._is_shutting_down:
            if self._end is None:
                self.server_state.refuse_unread_requests()
            self._end = self._end or asyncio.create_task(self._shutdown.end())
            await asyncio.wait([self._end], timeout=_TICK_SECONDS)
            if self._end.done():
                self._end.result()
                self.should_exit = True
        return await super().on_tick(counter)

    def _close_connections(self) -> None:
        """Close the connections whose clients don't read; others may wait for the store."""
        for connection in list(self.server_state.connections):
            if connection.transport.get_write_buffer_size():
                connection.transport.abort()
