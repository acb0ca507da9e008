"""Graceful shutdown of a container that Modal stops.

Modal stops a web function's container in two ways. An idle one has no requests. One that is
preempted gets SIGINT, at which Modal's runtime cancels all requests at once, runs the exit handlers
and kills the process after 30 seconds. `InterruptShutdown` takes the time for the requests: those
that run may end, new ones get 503, and what is left after the grace period is told so.

Requests to a server (Modal's other handler) are not cancelled: `functions.modal.threaded_server`.

https://modal.com/docs/guide/preemption
"""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import TYPE_CHECKING, Any

from shared.runtime.shutdown import GracefulShutdown

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from shared.runtime.state import ServerState

FLUSH_SECONDS = 0.5
"""For Modal's runtime to send on what requests ended with, before its tasks or itself are ended."""


class InterruptShutdown:
    """Wraps the app. SIGINT lets its requests end, and only then has its usual effect.

    Modal's runtime handles the signal by its event loop, and sets its handler whenever it begins to
    run something on it. So it is replaced by the first request. A second SIGINT cuts off all
    requests.
    """

    def __init__(self, app: ASGIApp, state: ServerState, grace_period: float) -> None:
        """``grace_period`` in seconds."""
        self._app = app
        self._is_installed = False
        self._shutdown = GracefulShutdown(state, grace_period)
        self._ending: asyncio.Task[None] | None = None
        self._handlers: dict[int, Any] = {}
        self._usual: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI 3)."""
        if scope["type"] == "http" and not self._is_installed:
            self._is_installed = True
            self._install()
        await self._app(scope, receive, send)

    def _install(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may handle signals; Modal runs web functions there
        loop = asyncio.get_running_loop()
        # asyncio has no way to ask for a handler, but Modal's has to get the signal in the end.
        self._handlers = getattr(loop, "_signal_handlers", {})
        self._usual = self._handlers.get(signal.SIGINT)
        loop.add_signal_handler(signal.SIGINT, self._interrupt, loop)

    def _interrupt(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._ending is None:
            self._shutdown.begin()
            self._ending = loop.create_task(self._end_and_pass_on(loop))
        else:
            self._shutdown.cut_short()

    async def _end_and_pass_on(self, loop: asyncio.AbstractEventLoop) -> None:
        await self._shutdown.end()
        await asyncio.sleep(FLUSH_SECONDS)
        if self._usual is not None:
            self._handlers[signal.SIGINT] = self._usual
        else:
            loop.remove_signal_handler(signal.SIGINT)  # now it raises KeyboardInterrupt
        loop.call_soon(signal.raise_signal, signal.SIGINT)
