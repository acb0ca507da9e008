"""Bodies in and out: reading within limits, event streams, clients that hang up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from shared.protocol.errors import APIError
from shared.protocol.sse import HEADERS

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from shared.engine.generation import Generation
    from shared.engine.types import Output

KEEP_ALIVE_SECONDS = 15.0
_BODY = "pilotlight.body"


async def read_body(request: Request, limit: int) -> bytes:
    """The request's body; raises `APIError` 413 once it is known to exceed ``limit`` bytes."""
    length = request.headers.get("content-length", "0")
    parts: list[bytes] = []
    size = int(length) if length.isdigit() else 0
    if size <= limit:
        size = 0
        async for part in request.stream():
            parts.append(part)
            size += len(part)
            if size > limit:
                break
    if size > limit:
        raise APIError(
            413,
            f"The request body is larger than the limit of {limit} bytes.",
            code="request_too_large",
            headers={"connection": "close"},
        )
    body = parts[0] if len(parts) == 1 else b"".join(parts)
    request.scope[_BODY] = body
    return body


def sent_body(request: Request) -> bytes:
    """The body that `read_body` has read."""
    body: bytes = request.scope[_BODY]
    return body


class DisconnectWatch:
    """Calls back when the client goes away; a context manager around the work for it."""

    def __init__(self, receive: Receive, on_disconnect: Callable[[], None]) -> None:
        self._receive = receive
        self._on_disconnect = on_disconnect

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._on_disconnect()

    def __enter__(self) -> None:
        self._task = asyncio.create_task(self._watch())

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._task.cancel()


class EventStream(Response):
    """A ``text/event-stream`` of a generation's events."""

    def __init__(
        self,
        generation: Generation,
        events: AsyncIterator[bytes],
        headers: Mapping[str, str],
    ) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({**HEADERS, **headers})
        self._generation = generation
        self._events = events

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events as they come; a client that hangs up cancels the generation."""
        try:
            with DisconnectWatch(receive, self._generation.cancel):
                await send(
                    {
                        "type": "http.response.start",
                        "status": self.status_code,
                        "headers": self.raw_headers,
                    }
                )
                async for event in self._events:
                    await send({"type": "http.response.body", "body": event, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        finally:
            self._generation.cancel()


async def outputs_or_keep_alive(generation: Generation) -> AsyncIterator[list[Output]]:
    """A generation's outputs, with an empty list whenever nothing came for 15 seconds."""
    timer = _KeepAliveTimer(generation)
    try:
        async for outputs in generation:
            timer.is_quiet = not outputs
            yield outputs
    finally:
        timer.cancel()


class _KeepAliveTimer:
    """Wakes a generation's reader after a period without outputs."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self.is_quiet = True
        self._schedule()

    def _schedule(self) -> None:
        self._handle = self._generation.loop.call_later(KEEP_ALIVE_SECONDS, self._tick)

    def _tick(self) -> None:
        if self.is_quiet:
            self._generation.wake()
        self.is_quiet = True
        self._schedule()

    def cancel(self) -> None:
        """Stop."""
        self._handle.cancel()
