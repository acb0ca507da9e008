"""Connections within limits: sockets against the protocol, with a clock that the test moves."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from functions.http.cors import CrossOriginPolicy
from functions.http.server.connection_limits import CHECK_SECONDS, ConnectionLimits, ConnectionState
from functions.http.server.protocol import (
    HEAD_BYTES,
    MAX_HEADERS,
    MAX_PIPELINED,
    LimitedHttpProtocol,
)

pytestmark = pytest.mark.anyio

LIMITS = ConnectionLimits(connections=8, head=10, transfer=30, idle=75, unwanted_body=100_000)
HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
WAIT = 30.0
"""Far more than anything here takes: only a hang should reach it."""

App = Callable[[Scope, Receive, Send], Awaitable[None]]


@pytest.fixture(scope="module")
def anyio_backend() -> Any:
    """The event loop that servers run on."""
    return "asyncio", {"use_uvloop": True}


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


class TestHeads:
    """Nobody has shown a key before the head is there."""

    @pytest.mark.parametrize(
        "head",
        [
            pytest.param(b"GET /" + b"a" * HEAD_BYTES + b" HTTP/1.1\r\n\r\n", id="a long path"),
            pytest.param(b"GET /?" + b"a" * HEAD_BYTES + b" HTTP/1.1\r\n\r\n", id="a long query"),
            pytest.param(b"GET /" + b"a" * HEAD_BYTES, id="a path without an end"),
            pytest.param(HEAD + b"x: " + b"a" * HEAD_BYTES, id="a header without an end"),
            pytest.param(HEAD + b"a" * HEAD_BYTES, id="a name without an end"),
            pytest.param(HEAD + b"x: " + b"a" * HEAD_BYTES + b"\r\n\r\n", id="a long header"),
            pytest.param(HEAD + (b"x: " + b"a" * 800 + b"\r\n") * 90 + b"\r\n", id="long together"),
            pytest.param(HEAD + b"x: y\r\n" * MAX_HEADERS + b"\r\n", id="many headers"),
            pytest.param(HEAD + b"x: y\r\n" * 10_000, id="headers without an end"),
            pytest.param(b"x" * HEAD_BYTES + b"x", id="no request at all"),
            pytest.param(GET + b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 102, id="the second request"),
        ],
    )
    @pytest.mark.parametrize("part", [2**20, 5000])
    async def test_a_large_one_is_refused(self, head: bytes, part: int) -> None:
        async with serving() as server:
            client = await server.connect()
            for start in range(0, len(head), part):
                client.writer.write(head[start : start + part])
                await client.writer.drain()
            received = await client.rest()
        status, error = envelope(received)
        if head.startswith(b"x"):
            assert status == 400
            return
        assert status == 431
        assert error["code"] == "request_header_fields_too_large"
        assert (b"0 bytes" in received) == head.startswith(GET)

    @pytest.mark.parametrize(
        "headers",
        [
            b"x: " + b"a" * (HEAD_BYTES - 200) + b"\r\n",
            b"x: y\r\n" * (MAX_HEADERS - 2),
        ],
        ids=["long", "many"],
    )
    async def test_one_within_the_limits_is_read(self, headers: bytes) -> None:
        async with serving() as server:
            received = await server.ask(HEAD + b"connection: close\r\n" + headers + b"\r\n")
        assert received.startswith(b"HTTP/1.1 200 ")

    async def test_a_body_before_it_does_not_count(self) -> None:
        body = b"a" * (HEAD_BYTES + 1000)
        first = HEAD + b"content-length: %d\r\n\r\n" % len(body) + body
        async with serving() as server:
            client = await server.connect(first + GET[:-2])
            await client.until(b"%d bytes" % len(body))
            client.writer.write(b"\r\n")
            await client.until(b"0 bytes")
            client.writer.close()


class TestTime:
    """Nothing is waited for endlessly."""

    @pytest.mark.parametrize("sent", [b"G", GET[:-1], HEAD + b"x: "])
    @pytest.mark.parametrize("before", [b"", GET])
    async def test_a_head_that_does_not_end_gets_408(self, before: bytes, sent: bytes) -> None:
        async with serving() as server:
            client = await server.connect(before + sent)
            if before:
                await client.until(b"0 bytes")
            await until(lambda: server.protocol.is_reading_head)
            server.pass_time(LIMITS.head - 1)
            client.writer.write(b"" if sent == GET[:-1] else b"a")
            server.pass_time(2)
            status, error = envelope(await client.rest())
        assert (status, error["code"]) == (408, "request_timeout")

    @pytest.mark.parametrize("sent", [b"", b"\r\n"])
    async def test_a_connection_without_a_request_is_closed(self, sent: bytes) -> None:
        async with serving() as server:
            client = await server.connect(sent)
            server.pass_time(LIMITS.head + 1)
            assert await client.rest() == b""

    @pytest.mark.parametrize("sent", [b"", b"\r\n"])
    async def test_an_idle_connection_is_closed(self, sent: bytes) -> None:
        async with serving() as server:
            client = await server.connect(GET)
            await client.until(b"0 bytes")
            client.writer.write(sent)
            server.pass_time(LIMITS.idle - 1)
            client.writer.write(GET)
            await client.until(b"0 bytes")
            server.pass_time(LIMITS.idle + 1)
            assert await client.rest() == b""

    @pytest.mark.parametrize(
        "framing", [b"content-length: 1000000\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n1\r\n"]
    )
    async def test_a_body_that_stands_still_gets_408(self, framing: bytes) -> None:
        async with serving() as server:
            client = await server.connect(HEAD + framing + b"a")
            await until(lambda: server.protocol.is_reading_body)
            server.pass_time(LIMITS.transfer + 1)
            status, error = envelope(await client.rest())
        assert (status, error["code"]) == (408, "request_timeout")

    async def test_a_slow_body_gets_408(self) -> None:
        async with serving() as server:
            client = await server.connect(HEAD + b"content-length: 100000\r\n\r\n" + b"a" * 10_000)
            await until(lambda: server.protocol.body.size == 10_000)
            server.pass_time(LIMITS.transfer + 1)
            assert envelope(await client.rest())[0] == 408

    async def test_a_faster_body_may_take_longer(self) -> None:
        step = 16_384
        async with serving() as server:
            client = await server.connect(HEAD + b"content-length: %d\r\n\r\n" % (10 * step))
            for size in range(step, 10 * step, step):
                client.writer.write(b"a" * step)
                await until(lambda size=size: server.protocol.body.size == size)  # type: ignore[misc]
                server.pass_time(LIMITS.transfer)
            client.writer.write(b"a" * step)
            await client.until(b"%d bytes" % (10 * step))
            client.writer.close()

    async def test_nobody_is_blamed_for_a_process_that_stood_still(self) -> None:
        async with serving() as server:
            client = await server.connect(GET[:-2])
            await until(lambda: server.protocol.is_reading_head)
            server.state.check(1e6)
            client.writer.write(b"\r\n")
            await client.until(b"0 bytes")
            client.writer.close()


LONG = 20_000_000
"""Bytes: more than kernels keep for a client."""


async def long_answer(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Send what does not fit."""
    await answer(send, b"a" * LONG)


async def long_stream(_scope: Scope, _receive: Receive, send: Send) -> None:
    """The same in parts."""
    await send({"type": "http.response.start", "status": 200})
    for _ in range(100):
        part = b"a" * (LONG // 100)
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


class TestReaders:
    """Answers don't wait endlessly for clients that don't take them."""

    @pytest.mark.parametrize("app", [long_answer, long_stream])
    @pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"])
    async def test_one_that_does_not_read_is_disconnected(self, app: App, close: bytes) -> None:
        async with serving(app) as server:
            client = await server.connect(GET[:-2] + close + b"\r\n")
            await client.until(b"aaaa")
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            protocol = server.protocol
            await until(lambda: protocol.flow.write_paused)
            server.pass_time(LIMITS.transfer - 2)
            await asyncio.sleep(0)
            assert server.state.connections
            server.pass_time(LIMITS.transfer + 2)
            await until(lambda: not server.state.connections)
            client.writer.transport.abort()

    @pytest.mark.parametrize("app", [long_answer, long_stream])
    async def test_one_that_reads_slowly_gets_all(self, app: App) -> None:
        async with serving(app) as server:
            client = await server.connect(GET[:-2] + b"Connection: close\r\n\r\n")
            received = checked = 0
            while part := await asyncio.wait_for(client.reader.read(1_000_000), WAIT):
                received += part.count(b"a")
                if received - checked > 1_000_000:
                    checked = received
                    server.pass_time(LIMITS.transfer - 1)
            client.writer.close()
        assert received >= LONG


class TestFraming:
    """What could be read in two ways, or is hardly anything but framing."""

    CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"

    @pytest.mark.parametrize(
        "sent",
        [
            HEAD + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            HEAD + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
            HEAD + b"content-length: 3\r\ncontent-length: 3\r\n\r\nabc",
            HEAD + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabc",
            HEAD + b"content-length: 3, 3\r\n\r\nabc",
            HEAD + b"content-length: -3\r\n\r\nabc",
            HEAD + b"content-length: +3\r\n\r\nabc",
            HEAD + b"content-length: 0x3\r\n\r\nabc",
            HEAD + b"content-length: \xb2\r\n\r\nabc",
            HEAD + b"content-length: \r\n\r\nabc",
            HEAD + b"content-length: " + b"9" * 30 + b"\r\n\r\nabc",
            HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            HEAD + b"transfer-encoding: gzip\r\n\r\n",
            HEAD + b"transfer-encoding: identity\r\n\r\n",
            HEAD + b"transfer-encoding: xchunked\r\n\r\n",
            HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
            HEAD + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
            HEAD + b"transfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            HEAD + b"host: elsewhere\r\n\r\n",
            HEAD + b"x: a\x00b\r\n\r\n",
            HEAD + b"x: a\rb: c\r\n\r\n",
            HEAD + b"x: a\r\n b\r\n\r\n",
            HEAD + b": a\r\n\r\n",
            HEAD + b"\xe4: a\r\n\r\n",
            b"GET / HTTP/1.1\nhost: localhost\n\n",
            b"GET /\xff HTTP/1.1\r\n\r\n",
            b"GET / / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.7\r\n\r\n",
            b"GET / HTTP/2.0\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"CONNECT localhost:80 HTTP/1.1\r\nhost: localhost\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00",
            CHUNKED + b"g\r\n",
            CHUNKED + b"-1\r\n",
            CHUNKED + b"f" * 30 + b"\r\n",
            CHUNKED + b"1\na\r\n",
            CHUNKED + b"1\r\nabc\r\n",
            CHUNKED + b"1;" + b"x" * 300_000,
            CHUNKED + (b"1;" + b"x" * 1000 + b"\r\na\r\n") * 300,
            CHUNKED + b"1\r\na\r\n" * 20_000,
            CHUNKED + b"0\r\n" + b"x: y\r\n" * 60_000,
        ],
    )
    async def test_it_is_refused(self, sent: bytes) -> None:
        async with serving() as server:
            received = await server.ask(sent)
        status, error = envelope(received)
        assert (status, error["code"]) == (400, "invalid_http_request")
        assert received.count(b"HTTP/1.1 ") == 1

    @pytest.mark.parametrize(
        ("body", "size"),
        [
            (b"1\r\na\r\n" * 10_000 + b"0\r\n\r\n", 10_000),
            (b"10\r\n" + b"a" * 16 + b"\r\n", None),
            (b"5;name=value\r\nabcde\r\n0\r\nx-request-id: y\r\nhost: z\r\n\r\n", 5),
            (b"000005\r\nabcde\r\n0\r\n\r\n", 5),
        ],
    )
    async def test_usual_chunks_are_read(self, body: bytes, size: int | None) -> None:
        if size is None:
            body, size = body * 40_000 + b"0\r\n\r\n", 640_000
        async with serving() as server:
            client = await server.connect(self.CHUNKED + body)
            await client.until(b"%d bytes" % size)
            client.writer.close()

    async def test_an_answer_is_not_mixed_with_a_refusal(self) -> None:
        go_on = asyncio.Event()

        async def two_parts(_scope: Scope, _receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            await go_on.wait()
            await send({"type": "http.response.body", "body": b"second"})

        async with serving(two_parts) as server:
            client = await server.connect(GET + b"no request\r\n\r\n")
            received = await client.until(b"first")
            go_on.set()
            received += await client.rest()
        first, _, refusal = received.partition(b"0\r\n\r\n")
        assert b"second" in first
        assert envelope(refusal)[0] == 400

    async def test_too_many_pipelined_requests_are_refused(self) -> None:
        async with serving() as server:
            received = await server.ask(GET * 1000)
        assert received.count(b"HTTP/1.1 200 ") == MAX_PIPELINED + 1
        assert envelope(received)[0] == 400

    async def test_an_upgrade_is_not_taken_and_loses_no_body(self) -> None:
        upgrade = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: x\r\n"
        async with serving() as server:
            client = await server.connect(HEAD + upgrade + b"content-length: 5\r\n\r\nabcde")
            await client.until(b"5 bytes")
            client.writer.write(HEAD + upgrade + b"content-length: 3\r\n\r\nabc" + GET)
            await client.until(b"3 bytes")
            await client.until(b"0 bytes")
            client.writer.close()


async def refuse_unread(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer before the body is there."""
    await answer(send, b"refused", status=404)


async def refuse_and_close(_scope: Scope, _receive: Receive, send: Send) -> None:
    """The same, and end the connection."""
    await answer(send, b"refused", (b"connection", b"close"), status=413)


class TestEarlyAnswers:
    """Answers to requests that are still being sent reach their clients."""

    async def test_a_client_that_goes_on_sending_gets_it(self) -> None:
        async with serving(refuse_and_close) as server:
            client = await server.connect(HEAD + b"content-length: 50000000\r\n\r\n")
            received = await client.until(b"refused")
            for _ in range(10):
                client.writer.write(b"a" * 100_000)
                await client.writer.drain()
            assert b"connection: close" in received
            assert await client.rest() == b""

    async def test_it_is_not_listened_to_for_long(self) -> None:
        async with serving(refuse_and_close) as server:
            client = await server.connect(HEAD + b"content-length: 50000000\r\n\r\n")
            await client.until(b"refused")
            server.pass_time(3)
            await until(lambda: not server.state.connections)
            client.writer.close()

    async def test_what_nobody_asked_for_is_dropped_within_limits(self) -> None:
        async with serving(refuse_unread) as server:
            client = await server.connect(HEAD + b"content-length: 90000\r\n\r\n")
            await client.until(b"refused")
            client.writer.write(b"a" * 90_000 + HEAD + b"content-length: 900000\r\n\r\n")
            await client.until(b"refused")
            client.writer.write(b"a" * 110_000)
            assert await client.rest() == b""

    async def test_a_body_that_waits_for_100_is_not_taken_for_a_request(self) -> None:
        sent = HEAD + b"expect: 100-continue\r\ncontent-length: 1000\r\n\r\n"
        async with serving(refuse_unread) as server:
            client = await server.connect(sent + GET)
            received = await client.rest()
        assert received.count(b"HTTP/1.1 ") == 1
        assert b"connection: close" in received

    async def test_one_that_is_wanted_is_asked_for(self) -> None:
        async with serving() as server:
            client = await server.connect(
                HEAD + b"expect: 100-continue\r\ncontent-length: 3\r\n\r\n"
            )
            assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.writer.write(b"abc")
            await client.until(b"3 bytes")
            client.writer.close()


class TestHttp10:
    """Answers to a version that knows no chunks."""

    @staticmethod
    async def stream(_scope: Scope, _receive: Receive, send: Send) -> None:
        """Two parts of a body without a length."""
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"first ", "more_body": True})
        await send({"type": "http.response.body", "body": b"second", "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    @pytest.mark.parametrize("keep_alive", [b"", b"connection: keep-alive\r\n"])
    async def test_a_stream_ends_where_the_connection_does(self, keep_alive: bytes) -> None:
        async with serving(self.stream) as server:
            received = await server.ask(b"GET / HTTP/1.0\r\n" + keep_alive + b"\r\n")
        head, _, body = received.partition(b"\r\n\r\n")
        assert body == b"first second"
        assert b"transfer-encoding" not in head
        assert b"connection: close" in head

    async def test_a_whole_answer_has_its_length(self) -> None:
        async with serving() as server:
            received = await server.ask(b"POST / HTTP/1.0\r\ncontent-length: 3\r\n\r\nabc")
        assert b"content-length: 7\r\n" in received
        assert received.endswith(b"\r\n\r\n3 bytes")

    async def test_a_head_has_no_body(self) -> None:
        async with serving(self.stream) as server:
            received = await server.ask(b"HEAD / HTTP/1.0\r\n\r\n")
        assert received.endswith(b"\r\n\r\n")
        assert b"first" not in received


class TestConnections:
    """As many as there may be."""

    async def test_one_too_many_gets_503_while_others_go_on(self) -> None:
        async with serving(connections=3) as server:
            first, *others = [await server.connect(GET[:-2]) for _ in range(3)]
            status, error = envelope(await server.ask(GET))
            assert (status, error["code"]) == (503, "too_many_connections")
            first.writer.write(b"\r\n")
            await first.until(b"0 bytes")
            first.writer.close()
            await until(lambda: server.state.n_open == 2)
            again = await server.connect(GET)
            await again.until(b"0 bytes")
            for client in (again, *others):
                client.writer.close()

    async def test_those_that_are_refused_do_not_pile_up(self) -> None:
        async with serving(connections=1) as server:
            held = await server.connect(GET)
            refused = [await asyncio.open_connection("127.0.0.1", server._port) for _ in range(300)]
            await until(lambda: server.state.n_lingering == 32)
            assert len(server.state.connections) <= 40
            server.pass_time(3)
            await until(lambda: len(server.state.connections) == 1)
            for _, writer in refused:
                writer.close()
            await held.until(b"0 bytes")
            held.writer.close()

    async def test_half_sent_requests_get_503_when_the_server_ends(self) -> None:
        async with serving() as server:
            client = await server.connect(HEAD + b"content-length: 1000\r\n\r\na")
            await until(lambda: server.protocol.is_reading_body)
            server.state.refuse_unread_requests()
            status, error = envelope(await client.rest())
        assert (status, error["code"]) == (503, "model_loading")


class TestPagesOfOtherOrigins:
    """Their scripts can read why a connection was refused."""

    ORIGIN = b"https://app.example.com"
    ALLOWED = b"\r\naccess-control-allow-origin: " + ORIGIN + b"\r\n"
    CORS = CrossOriginPolicy([ORIGIN.decode()])

    @pytest.mark.parametrize(
        "rest",
        [
            pytest.param(b"x: " + b"a" * HEAD_BYTES + b"\r\n\r\n", id="a long head"),
            pytest.param(b"transfer-encoding: gzip\r\n\r\n", id="malformed"),
        ],
    )
    async def test_of_a_request(self, rest: bytes) -> None:
        sent = HEAD + b"origin: " + self.ORIGIN + b"\r\n" + rest
        async with serving(cors=self.CORS) as server:
            assert self.ALLOWED in await server.ask(sent)
        async with serving(cors=self.CORS) as server:
            assert b"access-control" not in await server.ask(sent.replace(b"app.", b"evil."))

    async def test_of_a_slow_body(self) -> None:
        async with serving(cors=self.CORS) as server:
            head = HEAD + b"origin: " + self.ORIGIN + b"\r\ncontent-length: 9\r\n\r\n"
            client = await server.connect(head)
            await until(lambda: server.protocol.is_reading_body)
            server.pass_time(LIMITS.transfer + 1)
            received = await client.rest()
            assert envelope(received)[0] == 408
            assert self.ALLOWED in received

    async def test_before_anything_is_read(self) -> None:
        async with serving(cors=self.CORS, connections=0) as server:
            received = await server.ask(b"")
            assert envelope(received)[0] == 503
            assert self.ALLOWED in received

    async def test_off(self) -> None:
        async with serving() as server:
            sent = HEAD + b"origin: " + self.ORIGIN + b"\r\ntransfer-encoding: gzip\r\n\r\n"
            received = await server.ask(sent)
            assert b"access-control" not in received
            assert b"vary" not in received
