"""Clients that go away: their sequences leave the batch, and nothing is left behind."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

import psutil
import pytest

from shared.protocol.fields import MAX_SEQUENCES
from tests.conftest import StartServer
from tests.server import CAPITAL, ServerProcess, user, wait_until

LONG: dict[str, Any] = {
    "messages": user("Tell me a story"),
    "ignore_eos": True,
    "max_tokens": 3000,
}
AT_ONCE = 10
ROUNDS = 20
MEMORY_GROWTH = 16 * 2**20
"""Bytes that a process may grow by without a leak: allocators keep what they had."""


class Caller:
    """A client on a bare socket."""

    def __init__(self, server: ServerProcess, **fields: Any) -> None:
        """Send a chat request."""
        host, port = server.url.removeprefix("http://").split(":")
        body = json.dumps({**LONG, **fields}).encode()
        self.socket = socket.create_connection((host, int(port)), timeout=300)
        self.socket.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )

    def read_content(self) -> None:
        """Read until the model has said something."""
        received = b""
        while b'"delta":{"content":"' not in received.replace(b": ", b":"):
            part = self.socket.recv(65536)
            assert part, received
            received += part

    def disconnect(self, *, reset: bool = False) -> None:
        """Close the connection, politely or with a TCP reset."""
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def hang_up_mid_stream(server: ServerProcess, rounds: int) -> None:
    """Let ten clients at a time begin to read a long answer and go."""
    for i in range(rounds):
        callers = [Caller(server, stream=True) for _ in range(AT_ONCE)]
        for caller in callers:
            caller.read_content()
            caller.disconnect(reset=bool(i % 2))


def test_two_hundred_hang_ups_in_mid_stream_leave_nothing_behind(server: ServerProcess) -> None:
    process = psutil.Process(server.process.pid)
    hang_up_mid_stream(server, 3)  # fills the prefix cache and the allocator's pools
    wait_until(server.is_idle, "the first sequences have left")
    wait_until(lambda: server.metric("requests_active") == 1, "nothing of other tests is left")
    cancelled = server.metric("cancelled_sequences_total")
    memory = process.memory_info().rss

    hang_up_mid_stream(server, ROUNDS)
    wait_until(server.is_idle, "all sequences have left")
    wait_until(lambda: server.metric("requests_active") == 1, "but the scrape itself all have left")

    assert server.metric("cancelled_sequences_total") == cancelled + AT_ONCE * ROUNDS
    assert server.metric("sequences_running") == 0
    assert server.metric("requests_queued") == 0
    assert server.metric("kv_cells_running") == 0
    assert process.memory_info().rss < memory + MEMORY_GROWTH
    assert "Paris" in server.chat(temperature=0).text


def test_hanging_up_frees_every_choice(server: ServerProcess) -> None:
    cancelled = server.metric("cancelled_sequences_total")
    caller = Caller(server, stream=True, n=4)
    caller.read_content()
    caller.disconnect()
    wait_until(server.is_idle, "the sequences have left")
    assert server.metric("cancelled_sequences_total") == cancelled + 4


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_does_not_stream_may_hang_up_too(server: ServerProcess, reset: bool) -> None:
    cancelled = server.metric("cancelled_sequences_total")
    caller = Caller(server, n=4)
    wait_until(lambda: server.metric("sequences_running") == 4, "the sequences run")
    caller.disconnect(reset=reset)
    wait_until(server.is_idle, "the sequences have left")
    assert server.metric("cancelled_sequences_total") == cancelled + 4


def test_a_client_that_hangs_up_within_its_request_does_no_harm(server: ServerProcess) -> None:
    log_start = server.log.stat().st_size
    host, port = server.url.removeprefix("http://").split(":")
    for part in (b"POST /v1/chat", b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"):
        with socket.create_connection((host, int(port)), timeout=300) as connection:
            connection.sendall(part)
    with socket.create_connection((host, int(port)), timeout=300) as connection:
        head = (
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n"
        )
        connection.sendall(head + b'{"messages":')
        wait_until(lambda: server.metric("requests_active") == 2, "the request is being read")
    wait_until(lambda: server.metric("requests_active") == 1, "the request has left")
    assert "Traceback" not in server.log_text(log_start)


def test_a_slow_reader_holds_up_nobody(server: ServerProcess) -> None:
    """The reader takes nothing: its chunks pile up in buffers, others are served meanwhile."""
    caller = Caller(server, stream=True)
    wait_until(lambda: server.metric("sequences_running") >= 1, "it runs")
    assert "Paris" in server.chat(temperature=0).text
    caller.disconnect()
    wait_until(server.is_idle, "the sequence has left")


def test_thousands_of_waiting_choices_that_leave_hold_up_nobody(start_server: StartServer) -> None:
    server = start_server("--max-queue", str(MAX_SEQUENCES))
    with (
        server.client() as http,
        http.stream(
            "POST",
            "/v1/completions",
            json={
                "prompt": ["x"] * (MAX_SEQUENCES // 16),
                "n": 16,
                "max_tokens": 500,
                "ignore_eos": True,
                "stream": True,
            },
        ) as response,
    ):
        assert response.status_code == 200
        wait_until(lambda: server.metric("sequences_waiting") > 500, "they wait")
    with server.client() as impatient:
        answer = impatient.post("/v1/chat/completions", json={"messages": CAPITAL})
    assert answer.status_code == 200
    wait_until(server.is_idle, "all have left")
