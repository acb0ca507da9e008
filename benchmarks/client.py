"""A load client that costs the machine little: it shares the cores with the server it measures.

One ``asyncio.Protocol`` per request on a new connection, request bytes built beforehand, and no
parsing beyond counting event markers. A new connection per request also spares the measurement
the question which server reuses connections how well.
"""

import asyncio
import gc
import json
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import TypeVar, cast

import uvloop

T = TypeVar("T")

_EVENT = b"\ndata:"
"""Begins every event. JSON can't hold a raw newline, so the marker never occurs inside an event."""

_CARRY = len(_EVENT) - 1
"""Bytes kept from one read to the next: too short to count a marker twice."""

_STREAM_END = b"[DONE]"


@dataclass(slots=True)
class Exchange:
    """What happened to one request. Times are seconds on the clock of ``time.perf_counter``."""

    started: float
    first_token: float | None = None
    finished: float = 0.0
    events: int = 0
    arrivals: list[float] = field(default_factory=list)
    """When bytes with at least one event arrived: what a reader of the stream perceives."""
    body: bytes = b""
    error: str | None = None


class _Connection(asyncio.Protocol, ABC):
    """Sends one request and follows its response to the end."""

    def __init__(self, request: bytes, done: asyncio.Future[Exchange]) -> None:
        self.request = request
        self.done = done
        self.exchange = Exchange(started=time.perf_counter())
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport isn't derived from asyncio's class.
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self.request)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.finish(self.end_error(error))

    def finish(self, error: str | None) -> None:
        self.exchange.finished = time.perf_counter()
        self.exchange.error = error
        if self.transport is not None:
            self.transport.abort()
        if not self.done.done():
            self.done.set_result(self.exchange)

    @abstractmethod
    def end_error(self, error: Exception | None) -> str | None:
        """The reason why the connection's end is a failure, or None if it is the proper end."""


class _JsonConnection(_Connection):
    """Collects a response that isn't streamed; the server closing the connection ends it."""

    def data_received(self, data: bytes) -> None:
        self.exchange.body += data

    def end_error(self, error: Exception | None) -> str | None:
        return _status_error(self.exchange.body) or (repr(error) if error else None)


class _StreamConnection(_Connection):
    """Counts a stream's events and checks that it ended because all tokens were generated."""

    def __init__(self, request: bytes, done: asyncio.Future[Exchange]) -> None:
        super().__init__(request, done)
        self.carry = b""
        self.recent: deque[bytes] = deque(maxlen=8)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if self.carry:
            data = self.carry + data
        self.carry = data[-_CARRY:]
        self.recent.append(data)
        exchange = self.exchange
        events = data.count(_EVENT)
        if events:
            exchange.events += events
            exchange.arrivals.append(now)
            if exchange.first_token is None and has_text(data):
                exchange.first_token = now
        if _STREAM_END in data:
            exchange.events -= 1
            self.finish(_finish_reason_error(b"".join(self.recent)))

    def end_error(self, error: Exception | None) -> str | None:
        received = b"".join(self.recent)
        return _status_error(received) or f"stream broke off: {error or received[-200:]!r}"


def has_text(data: bytes) -> bool:
    """Whether any event carries text; some servers begin with an empty one."""
    return data.count(b'"text":') > data.count(b'"text":""') + data.count(b'"text": ""')


def _finish_reason_error(end: bytes) -> str | None:
    """None if the stream ended with ``finish_reason: "length"``: then all N tokens were made."""
    if b'"finish_reason":"length"' in end or b'"finish_reason": "length"' in end:
        return None
    return f"finish reason isn't length: {end[-300:]!r}"


def _status_error(response: bytes) -> str | None:
    if response.startswith(b"HTTP/1.1 200"):
        return None
    return f"unexpected response: {response[:300]!r}" if response else "connection closed"


async def exchange(host: str, port: int, request: bytes) -> Exchange:
    """Send ``request`` on a new connection and follow the response to its end. Never raises."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Exchange] = loop.create_future()
    connection = _StreamConnection if b'"stream": true' in request else _JsonConnection
    started = time.perf_counter()
    try:
        await loop.create_connection(lambda: connection(request, done), host, port)
    except OSError as error:
        return Exchange(started, finished=time.perf_counter(), error=repr(error))
    result = await done
    result.started = started
    return result


async def closed_loop(
    host: str, port: int, requests: Iterator[bytes], clients: int, timeout: float
) -> list[Exchange]:
    """Let ``clients`` clients each send the next of ``requests`` as soon as its last one ended.

    ``requests`` may end by count or by the clock. A client stops at its first failure. What is
    unfinished after ``timeout`` seconds is reported as failed.
    """
    exchanges: list[Exchange] = []

    async def client() -> None:
        for request in requests:
            result = await exchange(host, port, request)
            exchanges.append(result)
            if result.error:
                return

    tasks = [asyncio.create_task(client()) for _ in range(clients)]
    _, unfinished = await asyncio.wait(tasks, timeout=timeout)
    for task in unfinished:
        task.cancel()
        now = time.perf_counter()
        exchanges.append(Exchange(now, finished=now, error=f"no end within {timeout:.0f} s"))
    return exchanges


def run(work: Coroutine[None, None, T]) -> T:
    """Run ``work`` on a fresh event loop, undisturbed by the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work)
    finally:
        gc.enable()


def http_request(port: int, body: dict[str, object]) -> bytes:
    """The bytes of ``POST /v1/completions`` on a connection that the server closes afterwards."""
    payload = json.dumps(body).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + payload
