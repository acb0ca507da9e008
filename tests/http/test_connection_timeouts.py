"""Timeouts of connections: heads and bodies that don't arrive, answers that nobody takes."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Receive, Scope, Send

from tests.http.connections import GET, HEAD, LIMITS, WAIT, App, answer, envelope, serving, until

pytestmark = pytest.mark.anyio


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
