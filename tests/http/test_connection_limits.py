"""Limit of connections: those that are refused, and what pages of other origins may read of it."""

from __future__ import annotations

import asyncio

import pytest

from functions.http.cors import CrossOriginPolicy
from functions.http.server.request_head import HEAD_BYTES
from tests.http.connections import GET, HEAD, LIMITS, envelope, serving, until

pytestmark = pytest.mark.anyio


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
