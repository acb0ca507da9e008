"""ASGI transport for the HTTP client, with streams: parts of a body come as the app sends them.

httpx2's own transport gives a response only once its body is complete, and takes an app that runs on
the caller's event loop. Here the app runs on a loop of its own, as in a server, so that threads and
other loops can ask it at the same time.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2
from starlette.types import ASGIApp, Message, Scope

from shared.completion.client_disconnect import DISCONNECT_EXTENSION

Put = Callable[[Message | BaseException | None], None]
"""Takes the app's messages, then what it raised or None."""


class AppTransport(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """Requests to one app, from any thread or event loop but the app's."""

    def __init__(self, app: ASGIApp, loop: asyncio.AbstractEventLoop) -> None:
        """The app runs on ``loop``, which another thread runs."""
        self._app = app
        self._loop = loop

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Ask the app, and return as soon as it has sent a status and headers."""
        parts: queue.SimpleQueue[Message | BaseException | None] = queue.SimpleQueue()
        seconds = request.extensions.get("timeout", {}).get("read")

        def get() -> Message | None:
            try:
                return _checked(parts.get(timeout=seconds))
            except queue.Empty:
                exchange.disconnect()
                raise httpx2.ReadTimeout("the app has sent nothing", request=request) from None

        exchange = _Exchange(self._app, self._loop, request, request.read(), parts.put)
        return _response(get(), _Stream(get, exchange))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """As `handle_request`."""
        parts: asyncio.Queue[Message | BaseException | None] = asyncio.Queue()
        own_loop = asyncio.get_running_loop()

        def put(part: Message | BaseException | None) -> None:
            own_loop.call_soon_threadsafe(parts.put_nowait, part)

        async def get() -> Message | None:
            return _checked(await parts.get())

        exchange = _Exchange(self._app, self._loop, request, await request.aread(), put)
        try:
            return _response(await get(), _AsyncStream(get, exchange))
        except asyncio.CancelledError:
            exchange.disconnect()
            raise


class _Exchange:
    """One request, which the app handles on its loop."""

    def __init__(
        self,
        app: ASGIApp,
        loop: asyncio.AbstractEventLoop,
        request: httpx2.Request,
        body: bytes,
        put: Put,
    ) -> None:
        self._app = app
        self._loop = loop
        self._scope = _scope(request)
        self._body: bytes | None = body
        self._put = put
        self._n_left: int | None = None
        self._is_complete = False
        self._end = asyncio.Event()
        """Of the response, or of the client's interest in it."""
        self._watchers: list[Callable[[], object]] = []
        self._scope["extensions"] = {DISCONNECT_EXTENSION: self._watch_disconnect}
        asyncio.run_coroutine_threadsafe(self._run(), loop)

    def disconnect(self) -> None:
        """Tell the app that nobody reads any more."""
        self._loop.call_soon_threadsafe(self._note_disconnect)

    def _note_disconnect(self) -> None:
        self._end.set()
        for call in [] if self._is_complete else list(self._watchers):
            call()

    def _watch_disconnect(self, call: Callable[[], object]) -> Callable[[], None]:
        """As `functions.http.server.cycle.Cycle.watch_disconnect`."""
        if self._end.is_set() and not self._is_complete:
            call()
        self._watchers.append(call)
        return lambda: self._watchers.remove(call)

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._receive, self._send)
            if not self._is_complete and not self._end.is_set():
                raise AssertionError("the app returned before its response was complete")
        except BaseException as error:
            self._put(error)
        else:
            self._put(None)

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._end.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._end.is_set():
            return  # as a server does once the client has gone
        if message["type"] == "http.response.start":
            headers = [(name.lower(), value) for name, value in message["headers"]]
            for name, value in headers:
                assert not {*b"\r\n\0"} & {*name, *value}, f"breaks the head: {name!r}: {value!r}"
            length = dict(headers).get(b"content-length")
            self._n_left = None if length is None else int(length)
        else:
            self._is_complete = not message.get("more_body", False)
            if self._n_left is not None and self._scope["method"] != "HEAD":
                self._n_left -= len(message.get("body", b""))
                assert self._n_left >= 0, "more than the response's length"
                assert not self._is_complete or self._n_left == 0, "less than its length"
        self._put(message)
        if self._is_complete:
            self._end.set()


class _Stream(httpx2.SyncByteStream):
    """A response's body."""

    def __init__(self, get: Callable[[], Message | None], exchange: _Exchange) -> None:
        self._get = get
        self._exchange = exchange

    def __iter__(self) -> Iterator[bytes]:
        while (message := self._get()) is not None:
            if body := message.get("body"):
                yield body
            if not message.get("more_body"):
                return

    def close(self) -> None:
        """Hang up."""
        self._exchange.disconnect()


class _AsyncStream(httpx2.AsyncByteStream):
    """A response's body."""

    def __init__(self, get: Callable[[], Any], exchange: _Exchange) -> None:
        self._get = get
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (message := await self._get()) is not None:
            if body := message.get("body"):
                yield body
            if not message.get("more_body"):
                return

    async def aclose(self) -> None:
        """Hang up."""
        self._exchange.disconnect()


def _scope(request: httpx2.Request) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.partition(b"?")[0],
        "query_string": request.url.query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": ("127.0.0.1", 1),
        "server": (request.url.host, request.url.port),
    }


def _checked(part: Message | BaseException | None) -> Message | None:
    if isinstance(part, BaseException):
        raise part
    return part


def _response(
    start: Message | None, stream: httpx2.SyncByteStream | httpx2.AsyncByteStream
) -> httpx2.Response:
    assert start is not None
    return httpx2.Response(start["status"], headers=start["headers"], stream=stream)
