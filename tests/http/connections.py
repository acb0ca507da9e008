"""Connections to a server of one app, whose clock the test moves."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import uvicorn
from starlette.types import Receive, Scope, Send

from functions.http.cors import CrossOriginPolicy
from functions.http.server.connection_limits import CHECK_SECONDS, ConnectionLimits, ConnectionState
from functions.http.server.protocol import (
    LimitedHttpProtocol,
)

LIMITS = ConnectionLimits(connections=8, head=10, transfer=30, idle=75, unwanted_body=100_000)


HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"


GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


WAIT = 30.0
"""Far more than anything here takes: only a hang should reach it."""


App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Server:
    """A server of one app, and the clock of its connections."""

    def __init__(self, state: ConnectionState, port: int) -> None:
        self.state = state
        self._port = port
        self._moment = 0.0

    def pass_time(self, seconds: float) -> None:
        """Check connections as a server does that attends to them for ``seconds``."""
        for _ in range(round(seconds / CHECK_SECONDS)):
            self._moment += CHECK_SECONDS
            self.state.check(self._moment)

    @property
    def protocol(self) -> LimitedHttpProtocol:
        """The only connection."""
        (protocol,) = self.state.connections
        assert isinstance(protocol, LimitedHttpProtocol)
        return protocol

    async def connect(self, sent: bytes = b"") -> Client:
        """A connection on which ``sent`` has been received."""
        n_before = len(self.state.connections)
        client = Client(*await asyncio.open_connection("127.0.0.1", self._port))
        client.writer.write(sent)
        await until(lambda: len(self.state.connections) > n_before)
        return client

    async def ask(self, sent: bytes) -> bytes:
        """All that comes on a connection of its own until the server closes it."""
        return await (await self.connect(sent)).rest()


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def rest(self) -> bytes:
        """All until the server closes, which it does gracefully: no reset."""
        answer = await asyncio.wait_for(self.reader.read(), WAIT)
        self.writer.close()
        return answer

    async def until(self, end: bytes) -> bytes:
        """All up to and with ``end``."""
        return await asyncio.wait_for(self.reader.readuntil(end), WAIT)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop go on until ``condition`` holds."""

    async def wait() -> None:
        while not condition():
            await asyncio.sleep(0)

    await asyncio.wait_for(wait(), WAIT)


async def read_whole(_: Scope, receive: Receive, send: Send) -> None:
    """Answer with the number of bytes of the body."""
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        if not message.get("more_body"):
            break
    await answer(send, b"%d bytes" % size)


async def answer(send: Send, body: bytes, *headers: tuple[bytes, bytes], status: int = 200) -> None:
    """Send a whole answer."""
    headers = ((b"content-length", b"%d" % len(body)), *headers)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving(
    app: App = read_whole, cors: CrossOriginPolicy | None = None, **limits: Any
) -> AsyncIterator[Server]:
    """A server of ``app`` with `LIMITS`, some of them changed."""
    config = uvicorn.Config(app, log_config=None, access_log=False, ws="none")
    config.load()
    state = ConnectionState(dataclasses.replace(LIMITS, **limits), cors)
    loop = asyncio.get_running_loop()

    def protocol() -> LimitedHttpProtocol:
        return LimitedHttpProtocol(config, state, {}, loop)

    listener = await loop.create_server(protocol, "127.0.0.1", 0)
    server = Server(state, listener.sockets[0].getsockname()[1])
    server.pass_time(CHECK_SECONDS)
    yield server
    listener.close()
    for connection in list(state.connections):
        connection.transport.abort()
    await until(lambda: not state.connections)
    assert state.n_lingering == 0


def envelope(received: bytes) -> tuple[int, dict[str, Any]]:
    """Status and error of the last of the answers, behind which the connection ends."""
    assert received.count(b"connection: close\r\n") == 1
    head, _, body = received[received.rindex(b"HTTP/1.1 ") :].partition(b"\r\n\r\n")
    assert b"x-request-id: req_" in head
    assert b"content-length: %d\r\n" % len(body) in head + b"\r\n"
    error = orjson.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return int(head.split()[1]), error
