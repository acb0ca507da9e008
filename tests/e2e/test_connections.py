"""Connections of a real server: more than it has files for, half-open ones, and its end."""

from __future__ import annotations

import json
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit

from tests.api.openai_types import chat_chunks
from tests.conftest import StartServer
from tests.server import CAPITAL, ServerProcess, running_stream, wait_until

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
FILES = 260
CONNECTIONS = 100
"""What the server makes of so many files."""


@contextmanager
def few_files() -> Iterator[None]:
    """Processes that are started here may have `FILES` open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(server: ServerProcess, sent: bytes = b"") -> socket.socket:
    """A connection, on which ``sent`` is all that is sent for now."""
    address = urlsplit(server.url)
    connection = socket.create_connection((address.hostname, address.port), timeout=300)
    connection.sendall(sent)
    return connection


def received(connection: socket.socket) -> bytes:
    """All that comes until the server closes, or resets what it had not accepted yet."""
    parts = bytearray()
    with suppress(ConnectionResetError):
        while part := connection.recv(2**16):
            parts += part
    return bytes(parts)


def test_too_many_connections_end_neither_streams_nor_the_server(start_server: StartServer) -> None:
    with few_files():
        server = start_server("--grace-period", "600", new_interpreter=True)
    with ExitStack() as stack:
        parts = stack.enter_context(running_stream(server, 1500))
        text = next(parts)
        half_open = [stack.enter_context(connect(server, HEAD)) for _ in range(FILES + 40)]
        refused = half_open[CONNECTIONS + 5]
        assert received(refused).startswith(b"HTTP/1.1 503 ")
        text += "".join(parts)
        assert chat_chunks(text)[-1].choices[0].finish_reason == "length"
        assert "all 100 connections are taken" in server.log_text()
        for connection in half_open[: CONNECTIONS // 2]:
            connection.close()
        wait_until(lambda: server.http.get("/health").status_code == 200, "room again")
        assert server.chat(max_tokens=1).status_code == 200

        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    assert "Traceback" not in server.log_text()


HALF_OPEN = (
    b"",
    b"POST /v1/chat",
    HEAD + b"Content-Length: 100\r\n\r\n",
    HEAD + b"Content-Length: 100\r\n\r\n{",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n",
    HEAD + b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n",
)


def test_half_open_connections_do_not_hold_up_the_end(start_server: StartServer) -> None:
    server = start_server("--grace-period", "600")
    with ExitStack() as stack:
        half_open = {
            sent: [stack.enter_context(connect(server, sent)) for _ in range(20)]
            for sent in HALF_OPEN
        }
        wait_until(lambda: server.metric("requests_active") == 4 * 20 + 1, "all wait for bodies")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        for sent, connections in half_open.items():
            answers = [received(connection) for connection in connections]
            if sent.startswith(HEAD) and b"Expect" not in sent:
                assert all(answer.startswith(b"HTTP/1.1 503 ") for answer in answers)
    assert "Traceback" not in server.log_text()


def test_what_takes_too_long_gets_408(start_server: StartServer) -> None:
    server = start_server("--header-timeout", "0.1", "--transfer-timeout", "0.1")
    with (
        connect(server, HEAD) as head,
        connect(server, HEAD + b"Content-Length: 100\r\n\r\n{") as body,
        connect(server) as nothing,
    ):
        for answer in (received(head), received(body)):
            assert answer.startswith(b"HTTP/1.1 408 ")
            error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
            assert error["code"] == "request_timeout"
        assert received(nothing) == b""


def test_http_1_0_gets_a_stream_without_chunks(server: ServerProcess) -> None:
    body = json.dumps({"messages": CAPITAL, "max_tokens": 2, "stream": True}).encode()
    head = b"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body)
    with connect(server, head + body) as connection:
        head, _, stream = received(connection).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert b"connection: close" in head.lower()
    assert stream.startswith(b"data: {")
    assert stream.endswith(b"data: [DONE]\n\n")


def test_stored_completions_are_not_read_while_the_server_ends(start_server: StartServer) -> None:
    server = start_server("--grace-period", "600")
    with running_stream(server, 3000) as parts:
        server.signal(signal.SIGTERM)
        wait_until(lambda: server.http.get("/v1/models").status_code == 503, "draining")
        answer = server.http.get("/v1/chat/completions")
        metrics = server.http.get("/metrics")
        server.signal(signal.SIGTERM)
        "".join(parts)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_loading")
    assert answer.headers["connection"] == "close"
    assert metrics.status_code == 200
