"""HTTP/1.1 connection to an upstream: one exchange at a time, read as fast as its caller reads.

On httptools, as the server is. With h11, which httpx2 has, a chunk takes 16 us in place of 0.2: an
upstream that sends a byte in each held the event loop for 175 ms a read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import cast

import httptools

from shared.upstreams.headers import Headers

MOST_FRAMING = 2**16
"""Bytes of heads, of sizes of chunks or of trailers between two bytes of a body."""
_MOST_HEADERS = 256
_MOST_BUFFERED = 2**18
"""Bytes of a body that wait to be taken; above that the upstream has to wait."""
_JOINED_BYTES = 2**16

_EMPTY_STATUSES = (204, 304)


class BrokenConnectionError(Exception):
    """The connection broke off, or what came is not HTTP/1.

    ``is_unanswered``: nothing had come at all.
    """

    def __init__(self, message: str, *, is_unanswered: bool = False) -> None:
        super().__init__(message)
        self.is_unanswered = is_unanswered


class Connection(asyncio.Protocol):
    """Connection on which `ask` begins an exchange, and `read` reads its answer."""

    def __init__(self) -> None:
        self.is_closed = False
        self.idle_since = 0.0
        """On `time.monotonic`'s clock."""
        self.is_awaited = False
        """Whether its caller waits for more bytes, or did when it was cancelled."""
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[None] | None = None
        self._answer: Answer | None = None
        self._error: BrokenConnectionError | None = None
        self._is_paused = False

    async def ask(self, head: bytes, body: bytes) -> Answer:
        """Send a request; the answer, as soon as its head is here."""
        self._answer = answer = Answer(self)
        self.is_awaited = False
        if len(body) <= _JOINED_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        while not answer.has_head:
            await self._more()
        return answer

    async def read(self) -> bytes:
        """The next bytes of the answer's body; empty at its end."""
        answer = self._answer
        assert answer is not None
        while not (part := answer.take()) and not answer.is_complete:
            await self._more()
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        return part

    def release(self) -> bool:
        """Close the connection, unless it can be used for another exchange: then True."""
        answer, self._answer = self._answer, None
        is_sent = not self._transport.get_write_buffer_size()
        if answer is None or self.is_closed or not (answer.can_follow and is_sent):
            self.close()
            return False
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        self.idle_since = time.monotonic()
        return True

    def close(self) -> None:
        """Close it at once, whatever is still to be sent."""
        self.is_closed = True
        self._transport.abort()

    async def _more(self) -> None:
        """Wait for more bytes; raises `BrokenConnectionError` where none will come."""
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        self.is_awaited = True
        try:
            await self._waiter
            self.is_awaited = False
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read a part of the answer; what nobody has asked for ends the connection."""
        answer = self._answer
        if answer is None:
            self.close()
            return
        answer.feed(data)
        if answer.problem:
            self._error = BrokenConnectionError(answer.problem)
            self.close()
        elif answer.n_buffered > _MOST_BUFFERED and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """End: of the answer, too, if it has no other."""
        self.is_closed = True
        answer = self._answer
        if answer is not None and self._error is None and not answer.end():
            reason = "the connection was closed" if exc is None else f"{type(exc).__name__}: {exc}"
            self._error = BrokenConnectionError(reason, is_unanswered=not answer.has_begun)
        self._wake()


class Answer:
    """An answer, as far as it has come; its body is read by iterating over it."""

    def __init__(self, connection: Connection) -> None:
        self.status_code = 0
        self.raw_headers: Headers = []
        """Names in lower case."""
        self.has_begun = self.has_head = self.is_complete = False
        self.can_follow = False
        """Whether another answer may follow on the connection."""
        self.problem = ""
        """What is wrong with it, in words."""
        self.n_buffered = 0
        """Bytes of the body that wait to be taken."""
        self.commit: Callable[[], None] = lambda: None
        """To be called before its first byte is passed on: no other model is asked after that."""
        self._connection = connection
        self._parts: list[bytes] = []
        # Without a call of Python for each chunk, however small.
        self.on_body = self._parts.append
        self._parser = httptools.HttpResponseParser(self)
        self._framing = 0
        self._n_complete = 0
        """Parts there are when the answer is complete."""
        self._is_unframed = False

    @property
    def headers(self) -> Mapping[str, str]:
        """By name in lower case; of several headers of one name the last."""
        return {name.decode(): value.decode("latin-1") for name, value in self.raw_headers}

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The parts of the body as they come; raises `BrokenConnectionError`."""
        while part := await self._connection.read():
            yield part

    def take(self) -> bytes:
        """The bytes of the body that have come and were not taken."""
        parts = self._parts
        taken = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self.n_buffered = 0
        return taken

    def feed(self, data: bytes) -> None:
        """Read the next bytes."""
        self.has_begun = True
        if self.is_complete:
            self.can_follow = False
            return
        n_parts = len(self._parts)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserUpgrade, httptools.HttpParserError) as error:
            if not self.is_complete:
                is_switch = isinstance(error, httptools.HttpParserUpgrade)
                self._refuse("it switches protocols" if is_switch else f"it is not HTTP/1: {error}")
            self.can_follow = False
        if self.is_complete:
            del self._parts[self._n_complete :]  # of something that nobody has asked for
        new = self._parts[n_parts:]
        self.n_buffered += sum(map(len, new))
        self._framing = 0 if new else self._framing + len(data)
        if self._framing > MOST_FRAMING and not self.is_complete:
            self._refuse(f"more than {MOST_FRAMING} bytes of headers or of sizes of chunks")

    def end(self) -> bool:
        """Take note of the connection's end; whether the answer is complete."""
        self.is_complete |= self.has_head and self._is_unframed and not self.problem
        self.can_follow = False
        return self.is_complete

    def _refuse(self, problem: str) -> None:
        self.problem = self.problem or problem

    # Called by the parser

    def on_message_begin(self) -> None:
        """Begin; behind the answer, something that nobody has asked for."""
        if self.is_complete:
            self.can_follow = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; or a trailer, of which nothing is made."""
        if self.has_head:
            return
        if len(self.raw_headers) == _MOST_HEADERS:
            self._refuse(f"more than {_MOST_HEADERS} headers")
            return
        self.raw_headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is here; after that of an interim answer (1xx) another one comes."""
        if self.has_head:
            return
        status, version = self._parser.get_status_code(), self._parser.get_http_version()
        if 100 <= status < 200:
            self.raw_headers = []
            return
        encodings = [v.lower() for name, v in self.raw_headers if name == b"transfer-encoding"]
        if version not in ("1.1", "1.0") or not 200 <= status < 600:
            self._refuse(f"it has the version {version} and the status {status}")
        if encodings and (encodings != [b"chunked"] or version == "1.0"):
            self._refuse("its Transfer-Encoding is not 'chunked'")
        if self.problem:
            return
        has_length = any(name == b"content-length" for name, _ in self.raw_headers)
        self._is_unframed = not (encodings or has_length or status in _EMPTY_STATUSES)
        self.status_code = status
        self.has_head = True

    def on_message_complete(self) -> None:
        """The answer is here wholly; or an interim one."""
        if self.has_head and not self.is_complete:
            self.is_complete = True
            self.can_follow = self._parser.should_keep_alive()
            self._n_complete = len(self._parts)
