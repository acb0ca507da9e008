"""Request-response cycle of HTTP/1, and responses to HTTP/1.0."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from functions.http.asgi_extensions import SENT_EXTENSION
from functions.http.server.response_head import response_head
from shared.completion.client_disconnect import DISCONNECT_EXTENSION

_JOINED_BYTES = 2**16
"""A larger part of a body is not copied behind the head."""
_WITHOUT_BODY = (204, 304)


class Cycle(RequestResponseCycle):
    """uvicorn's, but for four things.

    - It leaves it to the protocol to end a connection whose client still sends. Closing it at once
      would make the client's kernel drop the answer.
    - The head of an answer is sent with what follows it at once: one write in place of two, each
      of which wakes the client.
    - Who waits for the client to go away is called, and need not be a task that waits.
    - `send` returns when the end of an answer is with the kernel, as far as that takes it: what
      its handler does afterwards comes while the answer is on its way.
    """

    def __init__(
        self, *, loop: asyncio.AbstractEventLoop, expect_100_continue: bool, **kwargs: Any
    ) -> None:
        self._is_body_wanted = not expect_100_continue
        super().__init__(expect_100_continue=expect_100_continue, **kwargs)
        self._loop = loop
        self._head = b""
        """What is not written yet."""
        self._watchers: list[Callable[[], object]] = []
        scope: Any = self.scope
        scope["extensions"] = {DISCONNECT_EXTENSION: self.watch_disconnect, SENT_EXTENSION: {}}

    def receive(self) -> Coroutine[Any, Any, Any]:
        """Receive a part of the body (ASGI 3)."""
        self._is_body_wanted = True
        return super().receive()

    async def send(self, message: Any) -> None:
        """Send a part of the answer (ASGI 3)."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        kind = "http.response.body" if self.response_started else "http.response.start"
        if message["type"] != kind or self.response_complete:
            raise RuntimeError(f"Unexpected ASGI message '{message['type']}'.")
        if not self.response_started:
            self._begin(message)
            return
        is_end = not message.get("more_body", False)
        self._write_body(message.get("body", b""), is_end=is_end)
        if is_end:
            await asyncio.sleep(0)  # the event loop writes, and closes, at the end of a turn

    def watch_disconnect(self, call: Callable[[], object]) -> Callable[[], None]:
        """Have ``call`` called when the client goes away; what is returned undoes that."""
        self.flow.resume_reading()
        if self.disconnected:
            call()
        self._watchers.append(call)
        return lambda: self._watchers.remove(call)

    def disconnect(self) -> None:
        """Note that the client has gone away, or that nothing more is wanted of it."""
        self.disconnected = True
        for call in list(self._watchers):
            call()

    @property
    def ends_connection(self) -> bool:
        """Whether nothing may follow the answer.

        A client that was not asked for the body may send it, or another request in its place.
        """
        return not self._keep_alive or (self.more_body and not self._is_body_wanted)

    @property
    def keep_alive(self) -> bool:
        """What uvicorn closes the connection without, as soon as the answer is complete."""
        return not self.ends_connection or (self.response_complete and self.more_body)

    @keep_alive.setter
    def keep_alive(self, keep_alive: bool) -> None:
        self._keep_alive = keep_alive

    def _begin(self, message: Any) -> None:
        """Keep the head for the part of the body that comes with it, and for no longer."""
        status = message["status"]
        head = response_head(status, [*self.default_headers, *message.get("headers", ())])
        self.response_started = True
        self.waiting_for_100_continue = False
        if head.closes:
            self.keep_alive = False
        ending = b"" if self.keep_alive or head.closes else b"connection: close\r\n"
        if self.chunked_encoding is None:
            self.expected_content_length = head.content_length or 0
            has_body = self.scope["method"] != "HEAD" and status not in _WITHOUT_BODY
            self.chunked_encoding = head.is_chunked or (head.content_length is None and has_body)
            if self.chunked_encoding and not head.is_chunked:
                ending += b"transfer-encoding: chunked\r\n"
        self._head = b"".join((head.rendered, ending, b"\r\n"))
        self._loop.call_soon(self._write_head)

    def _write_head(self) -> None:
        head, self._head = self._head, b""
        if head and not self.transport.is_closing():
            self.transport.write(head)

    def _write_body(self, body: bytes, *, is_end: bool) -> None:
        """Write a part of the body; raises `RuntimeError` where it is not of the length told."""
        if self.scope["method"] == "HEAD":
            body, self.expected_content_length = b"", 0
        elif self.chunked_encoding:
            end = b"0\r\n\r\n" if is_end else b""
            body = b"%x\r\n%b\r\n%b" % (len(body), body, end) if body else end
        else:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0:
                raise RuntimeError("Response content longer than Content-Length")
        if len(body) > _JOINED_BYTES:
            self._write_head()
        if body or self._head:
            head, self._head = self._head, b""
            self.transport.write(head + body if head else body)
        if is_end:
            self._complete()

    def _complete(self) -> None:
        if self.expected_content_length != 0:
            raise RuntimeError("Response content shorter than Content-Length")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class UnchunkedCycle(Cycle):
    """An answer to HTTP/1.0, which knows no chunks: without a length the connection ends it."""

    _is_unframed = False

    def send(self, message: Any) -> Coroutine[Any, Any, None]:
        """Send a part of the answer (ASGI 3)."""
        if not self.response_started:
            names = [name.lower() for name, _ in message.get("headers", ())]
            self._is_unframed = b"content-length" not in names
            if self._is_unframed:
                self.chunked_encoding = False
        elif self._is_unframed:
            self.expected_content_length = len(message.get("body", b""))
        return super().send(message)
