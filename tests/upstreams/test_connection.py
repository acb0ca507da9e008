"""HTTP/1.1 of upstreams: answers whole and cut at every byte, and what is none."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from shared.upstreams.connection import MOST_FRAMING, Answer, BrokenConnectionError, Connection
from tests.upstreams.fake_upstream import STREAM_HEAD, chunk, head

SWITCH = head(101, upgrade="x", connection="upgrade")
LAST = b"0\r\n\r\n"
ANSWERS = {
    "length": (head(content_length="2") + b"{}", 200, b"{}", True),
    "close": (head(content_length="2", connection="close") + b"{}", 200, b"{}", False),
    "chunked": (STREAM_HEAD + chunk(b"a\n") + chunk(b"b") + LAST, 200, b"a\nb", True),
    "trailers": (STREAM_HEAD + chunk(b"a") + b"0\r\nx-sum: 1\r\n\r\n", 200, b"a", True),
    "extension": (STREAM_HEAD + b"1;a=b\r\na\r\n" + LAST, 200, b"a", True),
    "nothing": (head(204), 204, b"", True),
    "interim": (head(100) + head(103, link="x") + head(content_length="1") + b"a", 200, b"a", True),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\na", 200, b"a", False),
    "second answer": (head(content_length="1") + b"a" + head(content_length="1"), 200, b"a", False),
    "more bytes": (head(content_length="1") + b"abc", 200, b"a", False),
    "switch": (head(content_length="1") + b"a" + SWITCH, 200, b"a", False),
    "error": (head(503, content_length="0"), 503, b"", True),
}
"""Bytes, and of the answer: status, body, and whether another one may follow."""

NO_ANSWERS = {
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "switching protocols": SWITCH,
    "no such status": head(999, content_length="0"),
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "length and chunks": head(content_length="1", transfer_encoding="chunked") + chunk(b"a"),
    "other encoding": head(transfer_encoding="gzip, chunked") + chunk(b"a") + LAST,
    "no number": head(content_length="-1"),
    "too large a number": head(content_length="9" * 30),
    "line break in a header": b"HTTP/1.1 200 OK\r\nx: a\nset-cookie: b\r\n\r\n",
    "NUL in a header": head(x="a\0b"),
    "continued header": head(x="a\r\n b"),
    "space before a colon": b"HTTP/1.1 200 OK\r\ncontent-length : 1\r\n\r\na",
    "size that is none": STREAM_HEAD + b"xyz\r\n",
    "endless header": b"HTTP/1.1 200 OK\r\nx: " + b"y" * 2 * MOST_FRAMING,
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * MOST_FRAMING,
    "endless interim answers": head(100) * MOST_FRAMING,
    "endless extension": STREAM_HEAD + b"1;" + b"e" * 2 * MOST_FRAMING,
    "endless trailers": STREAM_HEAD + b"0\r\n" + b"x: y\r\n" * MOST_FRAMING,
}


def read(data: bytes, size: int) -> tuple[Answer, bytes]:
    """An answer that has come in parts of ``size``, and its body."""
    answer = Answer(Connection.__new__(Connection))
    for start in range(0, len(data), size):
        if not answer.problem:
            answer.feed(data[start : start + size])
    return answer, answer.take()


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_are_read_however_they_are_cut(name: str) -> None:
    data, status, body, can_follow = ANSWERS[name]
    for size in range(1, len(data) + 1):
        answer, found = read(data, size)
        assert (answer.status_code, found, answer.problem) == (status, body, "")
        assert answer.is_complete
        assert answer.can_follow == can_follow, f"in parts of {size}"


@pytest.mark.parametrize("size", [1, 1000, 2**20])
@pytest.mark.parametrize("name", NO_ANSWERS)
def test_what_is_no_answer_is_refused(name: str, size: int) -> None:
    answer, _ = read(NO_ANSWERS[name], size)
    assert answer.problem
    assert not answer.is_complete


def test_an_answer_without_length_ends_with_the_connection() -> None:
    answer, body = read(head() + b"abc", 1)
    assert (body, answer.is_complete) == (b"abc", False)
    assert answer.end()
    assert not answer.can_follow
    short, _ = read(head(content_length="4") + b"abc", 1)
    assert not short.end()
    unended, _ = read(STREAM_HEAD + chunk(b"abc"), 1)
    assert not unended.end()


class Transport:
    """What a connection does to its transport."""

    def __init__(self) -> None:
        self.written = b""
        self.calls: list[str] = []

    def write(self, data: bytes) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def __getattr__(self, name: str) -> Any:
        return lambda: self.calls.append(name)


async def asked() -> tuple[Connection, Transport, Answer]:
    """A connection with a stream that has begun."""
    connection, transport = Connection(), Transport()
    connection.connection_made(cast("asyncio.Transport", transport))
    asking = asyncio.ensure_future(connection.ask(b"POST / HTTP/1.1\r\n\r\n", b""))
    await asyncio.sleep(0)
    connection.data_received(STREAM_HEAD)
    return connection, transport, await asking


def test_an_upstream_waits_for_the_caller() -> None:
    async def run() -> None:
        connection, transport, _ = await asked()
        part = chunk(b"x" * 2**16)
        n_parts = 0
        while not transport.calls:
            connection.data_received(part)
            n_parts += 1
        assert transport.calls == ["pause_reading"]
        assert n_parts < 10
        assert len(await connection.read()) == n_parts * 2**16
        assert transport.calls == ["pause_reading", "resume_reading"]

    asyncio.run(run())


def test_what_nobody_has_asked_for_ends_a_connection() -> None:
    async def run() -> None:
        connection, transport, _ = await asked()
        connection.data_received(LAST)
        assert await connection.read() == b""
        assert connection.release()
        connection.data_received(head(content_length="0"))
        assert transport.calls == ["abort"]
        assert connection.is_closed

    asyncio.run(run())


def test_what_came_is_read_before_the_error_that_ends_it() -> None:
    async def run() -> None:
        connection, _, _ = await asked()
        connection.data_received(chunk(b"abc"))
        connection.connection_lost(ConnectionResetError("reset"))
        assert await connection.read() == b"abc"
        with pytest.raises(BrokenConnectionError, match="reset") as caught:
            await connection.read()
        assert not caught.value.is_unanswered
        assert not connection.release()

    asyncio.run(run())
