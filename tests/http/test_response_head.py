"""Heads of responses: when they are written, how the body is framed, and what is refused."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Receive, Scope, Send

from functions.http.server.response_head import response_head
from shared.completion.client_disconnect import DISCONNECT_EXTENSION
from tests.http.connections import GET, answer, serving, until

TYPE = (b"content-type", b"text/plain")


def test_head_of_a_body_with_a_length() -> None:
    head = response_head(200, [TYPE, (b"Content-Length", b"3")])
    assert head.rendered == b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n"
    assert (head.content_length, head.is_chunked, head.closes) == (3, False, False)


def test_head_of_a_body_in_chunks() -> None:
    head = response_head(200, [(b"content-length", b"3"), (b"transfer-encoding", b"chunked")])
    assert (head.content_length, head.is_chunked) == (None, True)


def test_head_that_ends_the_connection() -> None:
    assert response_head(413, [(b"connection", b"x, Close")]).closes


@pytest.mark.parametrize(
    "header",
    [(b"a b", b"c"), (b"a:", b"c"), (b"a", b"b\r\nset-cookie: c"), (b"a", b"b\nc"), (b"a", b"\0")],
)
def test_headers_that_forge_others(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(RuntimeError, match="Invalid HTTP header"):
        response_head(200, [TYPE, header])


@pytest.mark.anyio
async def test_head_is_sent_before_the_body_is_there() -> None:
    goes_on = asyncio.Event()

    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [TYPE]})
        await goes_on.wait()
        await send({"type": "http.response.body", "body": b"abc"})

    async with serving(app) as server:
        client = await server.connect(GET)
        head = await client.until(b"\r\n\r\n")
        assert head.endswith(b"transfer-encoding: chunked\r\n\r\n")
        goes_on.set()
        assert await client.until(b"0\r\n\r\n") == b"3\r\nabc\r\n0\r\n\r\n"


@pytest.mark.anyio
@pytest.mark.parametrize("size", [0, 3, 2**17])
async def test_head_and_body_in_order(size: int) -> None:
    async def app(_: Scope, __: Receive, send: Send) -> None:
        await answer(send, b"x" * size, (b"connection", b"close"))

    async with serving(app) as server:
        head, _, body = (await server.ask(GET)).partition(b"\r\n\r\n")
        assert b"content-length: %d" % size in head
        assert body == b"x" * size


@pytest.mark.anyio
async def test_who_watches_is_called_when_the_client_goes_away() -> None:
    calls: list[str] = []

    async def app(scope: Scope, __: Receive, send: Send) -> None:
        watch = scope["extensions"][DISCONNECT_EXTENSION]
        watch(lambda: calls.append("watched"))
        end = watch(lambda: calls.append("ended"))
        end()
        await until(lambda: bool(calls))
        watch(lambda: calls.append("late"))
        await answer(send, b"unread")

    async with serving(app) as server:
        client = await server.connect(GET)
        await until(lambda: server.protocol.cycle is not None)
        client.writer.close()
        await until(lambda: not server.state.connections)
        await until(lambda: "late" in calls)
    assert calls == ["watched", "late"]


@pytest.mark.anyio
async def test_the_client_of_a_request_that_others_follow_goes_away() -> None:
    calls: list[str] = []

    async def app(scope: Scope, receive: Receive, _: Send) -> None:
        await receive()
        scope["extensions"][DISCONNECT_EXTENSION](lambda: calls.append(scope["method"]))
        calls.append((await receive())["type"])

    async with serving(app) as server:
        client = await server.connect(GET + GET.replace(b"GET", b"PUT") + b"POST /")
        await until(lambda: server.protocol.is_reading_head)
        client.writer.close()
        await until(lambda: not server.state.connections)
        await until(lambda: len(calls) > 1)
    assert calls == ["GET", "http.disconnect"]
