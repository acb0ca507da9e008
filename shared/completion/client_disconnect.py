"""Client disconnects while a completion runs, and keep-alives of quiet streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from starlette.requests import ClientDisconnect

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

    from shared.engine.mailbox.generation import Generation

KEEP_ALIVE_SECONDS = 15.0

ResultT = TypeVar("ResultT")
Subscribe = Callable[[Callable[[], object]], Callable[[], object]]


DISCONNECT_EXTENSION = "pilotlight.disconnect"
"""ASGI extension of this project's own server: a function that is given what to call when the
client goes away, and returns what undoes that. A task that waits for it takes a twentieth of a
request's time."""


class DisconnectWatch:
    """Calls back when the client goes away; a context manager around the work for it.

    ``scope``: of a request whose server may have `DISCONNECT_EXTENSION`. Else a task waits.
    """

    def __init__(
        self, receive: Receive, on_disconnect: Callable[[], object], scope: Scope | None = None
    ) -> None:
        self._receive = receive
        self._on_disconnect = on_disconnect
        extensions = scope.get("extensions") if scope is not None else None
        self._subscribe: Subscribe | None = (extensions or {}).get(DISCONNECT_EXTENSION)
        self.is_disconnected = False

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._note()

    def _note(self) -> None:
        self.is_disconnected = True
        self._on_disconnect()

    def __enter__(self) -> Self:
        if self._subscribe is not None:
            self._end = self._subscribe(self._note)
        else:
            self._end = asyncio.create_task(self._watch()).cancel
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()


async def unless_disconnected(receive: Receive, work: asyncio.Future[ResultT]) -> ResultT:
    """What ``work`` gives, which is cancelled when the client goes away.

    Then nothing that has not begun yet is begun for it. Raises `ClientDisconnect`.
    """
    with DisconnectWatch(receive, work.cancel) as watch:
        try:
            return await work
        except asyncio.CancelledError:
            if not watch.is_disconnected:
                raise
            raise ClientDisconnect from None


class KeepAliveTimer:
    """Wakes a generation's reader, who finds no outputs, whenever none came for 15 seconds.

    A context manager around the reading.
    """

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self.is_quiet = True
        """To be set to False by who reads outputs, and to True where there were none."""

    def _schedule(self) -> None:
        self._handle = self._generation.loop.call_later(KEEP_ALIVE_SECONDS, self._tick)

    def _tick(self) -> None:
        if self.is_quiet:
            self._generation.wake()
        self.is_quiet = True
        self._schedule()

    def __enter__(self) -> Self:
        self._schedule()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._handle.cancel()


class QuietTimer:
    """Calls ``on_quiet`` whenever nothing was sent for 15 seconds, until it is cancelled."""

    def __init__(self, on_quiet: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._on_quiet = on_quiet
        self._loop = asyncio.get_running_loop()
        self._calls: set[asyncio.Task[None]] = set()
        self.is_quiet = True
        """To be set to False by who sends something."""
        self._schedule()

    def _schedule(self) -> None:
        self._handle = self._loop.call_later(KEEP_ALIVE_SECONDS, self._tick)

    def _tick(self) -> None:
        if self.is_quiet:
            call = self._loop.create_task(self._on_quiet())
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        self.is_quiet = True
        self._schedule()

    def cancel(self) -> None:
        """Stop."""
        self._handle.cancel()
        for call in self._calls:
            call.cancel()
