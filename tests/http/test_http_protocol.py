"""HTTP/1.1 within limits: heads, framing and early answers, with sockets against the protocol."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest
from starlette.types import Receive, Scope, Send

from functions.http.asgi_extensions import SENT_EXTENSION
from functions.http.server.protocol import MAX_PIPELINED
from functions.http.server.request_head import HEAD_BYTES, MAX_HEADERS
from shared.completion.client_disconnect import DISCONNECT_EXTENSION
from tests.http.connections import GET, HEAD, WAIT, answer, envelope, serving, until

pytestmark = pytest.mark.anyio


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

    @pytest.mark.skipif(sys.platform != "linux", reason="the kernel is asked as Linux's is")
    async def test_a_client_that_goes_away_from_pipelined_requests_is_noticed(self) -> None:
        """Nothing is read meanwhile, which is what else tells."""
        begun, gone = asyncio.Event(), asyncio.Event()
        n_begun = 0

        async def generate(scope: Scope, _receive: Receive, _send: Send) -> None:
            nonlocal n_begun
            n_begun += 1
            scope["extensions"][DISCONNECT_EXTENSION](gone.set)
            begun.set()
            await gone.wait()

        async with serving(generate) as server:
            client = await server.connect(GET)
            await begun.wait()
            client.writer.write(GET)
            await until(lambda: bool(server.protocol.pipeline))
            server.pass_time(1)
            assert not gone.is_set()
            client.writer.close()
            await client.writer.wait_closed()

            def is_noticed() -> bool:
                server.pass_time(1)
                return gone.is_set()

            await until(is_noticed)
        assert n_begun == 1

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


class TestEndsOfAnswers:
    """What a handler does once it has sent its answer holds up nobody."""

    async def test_the_client_has_it_and_the_end_of_the_connection(self) -> None:
        received: list[bytes] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            assert SENT_EXTENSION in scope["extensions"]
            await answer(send, b"all of it", (b"connection", b"close"))
            # Nothing else runs meanwhile: what has not been sent does not come.
            while not received or received[-1]:
                received.append(client.recv(65536))

        async with serving(app) as server:
            with socket.create_connection(("127.0.0.1", server._port), WAIT) as client:
                client.sendall(GET)
                await until(lambda: bool(received) and not received[-1])

        assert b"".join(received).endswith(b"all of it")


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
