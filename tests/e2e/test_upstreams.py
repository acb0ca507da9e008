"""Upstream models behind a real server: shutdown, disconnects, what the environment says."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from shared.storage.location import open_store
from tests.conftest import StartServer
from tests.server import CAPITAL, ServerProcess, wait_until
from tests.upstreams.conftest import KEY
from tests.upstreams.fake_upstream import (
    STREAM_HEAD,
    FakeUpstream,
    chunk,
    completion,
    delta,
    raw,
    stalls,
    whole,
)

CHAT = "/v1/chat/completions"
BODY: Any = {"model": "big", "messages": CAPITAL}


@pytest.fixture
def upstream(processes: None) -> Iterator[FakeUpstream]:
    """A fake upstream."""
    fake = FakeUpstream()
    yield fake
    fake.stop()


def in_front(
    start_server: StartServer, upstream: FakeUpstream, *options: str, new_interpreter: bool = False
) -> ServerProcess:
    """A server with a model of the upstream's."""
    models = json.dumps({"big": upstream.section()})
    environ = {"FAKE_KEY": KEY, "PILOTLIGHT_MODELS": models}
    return start_server(*options, environ=environ, new_interpreter=new_interpreter)


def test_a_running_stream_ends_normally_after_sigterm(
    start_server: StartServer, upstream: FakeUpstream
) -> None:
    server = in_front(start_server, upstream, "--grace-period", "600")
    may_end = threading.Event()

    async def answer(reader: Any, writer: Any) -> None:
        await raw(STREAM_HEAD, chunk(delta("Pa")))(reader, writer)
        await asyncio.to_thread(may_end.wait, 300)
        await raw(chunk(delta("ris")), chunk(b"data: [DONE]\n\n"), b"0\r\n\r\n")(reader, writer)

    upstream.answer = answer
    with server.client() as http, http.stream("POST", CHAT, json=BODY) as streamed:
        parts = streamed.iter_bytes()
        text = next(parts)
        server.signal(signal.SIGTERM)
        wait_until(lambda: server.http.get("/v1/models").status_code == 503, "draining")
        assert server.post(CHAT, BODY).status_code == 503
        may_end.set()
        text += b"".join(parts)
    assert text == delta("Pa") + delta("ris") + b"data: [DONE]\n\n"
    assert server.wait() == 0


def test_the_grace_period_ends_a_stream_with_an_error(
    start_server: StartServer, upstream: FakeUpstream
) -> None:
    server = in_front(start_server, upstream, "--grace-period", "0.1")
    upstream.answer = stalls(STREAM_HEAD, chunk(delta("Pa")))
    with server.client() as http, http.stream("POST", CHAT, json=BODY) as streamed:
        parts = streamed.iter_bytes()
        text = next(parts)
        server.signal(signal.SIGTERM)
        text += b"".join(parts)
    last = text.removesuffix(b"\n\n").rpartition(b"data: ")[2]
    assert json.loads(last)["error"]["type"] == "model_loading"
    assert server.wait() == 0
    assert upstream.received[0].is_closed.wait(60)
    assert "Traceback" not in server.log_text()


def test_what_a_shutdown_cuts_off_is_stored(
    start_server: StartServer, upstream: FakeUpstream
) -> None:
    section = {**upstream.section(), "mode": "adapter"}
    environ = {"FAKE_KEY": KEY, "PILOTLIGHT_MODELS": json.dumps({"big": section})}
    server = start_server("--model", "none", "--grace-period", "0.1", environ=environ)
    upstream.answer = stalls(STREAM_HEAD, chunk(delta("Pa")))
    body = {**BODY, "stream": True, "store": True}
    with server.client() as http, http.stream("POST", CHAT, json=body) as streamed:
        lines = (line.removeprefix("data: ") for line in streamed.iter_lines() if line)
        completion_id = json.loads(next(lines))["id"]
        next(lines)
        server.signal(signal.SIGTERM)
        (last,) = lines
    assert json.loads(last)["error"]["type"] == "model_loading"
    assert server.wait() == 0
    store = open_store("sqlite", server.data_directory)
    assert store is not None
    found = store.get("default", "chat", completion_id)
    store.close()
    assert found is not None
    assert found.is_incomplete
    assert found.response["choices"][0]["message"]["content"] == "Pa"


def test_a_caller_that_does_not_read_holds_the_upstream_up(
    start_server: StartServer, upstream: FakeUpstream
) -> None:
    server = in_front(start_server, upstream, "--transfer-timeout", "1")
    n_written = 0

    async def answer(reader: Any, writer: Any) -> None:
        nonlocal n_written
        writer.write(STREAM_HEAD)
        while not writer.is_closing():
            writer.write(chunk(b"x" * 2**16))
            await writer.drain()
            n_written += 2**16

    upstream.answer = answer
    url = urlsplit(server.url)
    body = json.dumps(BODY).encode()
    request = f"POST {CHAT} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection((url.hostname, url.port), timeout=300) as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        caller.sendall(request.encode() + body)
        # As any caller that takes nothing, it is disconnected; and then the upstream is.
        wait_until(lambda: bool(upstream.received), "asked")
        assert upstream.received[0].is_closed.wait(300)
    # What kernels hold of two connections, and a few parts. Without flow control, 32 MiB.
    assert n_written < 24 * 2**20


def test_a_real_server_passes_an_answer_on(
    start_server: StartServer, upstream: FakeUpstream
) -> None:
    server = in_front(start_server, upstream, "--api-key", "of-the-caller")
    upstream.answer = whole(completion())
    headers = {"authorization": "Bearer of-the-caller"}
    assert server.post(CHAT, BODY, headers=headers).json() == completion()
    assert server.post(CHAT, BODY).status_code == 401
    (received,) = upstream.received
    assert received.headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in server.log_text()


def test_a_server_without_a_model_of_its_own(
    start_server: StartServer, upstream: FakeUpstream
) -> None:
    server = in_front(start_server, upstream, "--model", "none", new_interpreter=True)
    upstream.answer = whole(completion())
    assert server.post(CHAT, BODY).json() == completion()
    for missing in ("none", "x"):
        refused = server.chat(model=missing)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    assert server.chat().json()["error"]["param"] == "model"
    assert [model.id for model in server.openai().models.list()] == ["big"]
    # It needs none of what a model needs.
    maps = Path(f"/proc/{server.process.pid}/maps")
    if maps.exists():
        assert not re.search("llama|numpy|awscrt", maps.read_text())
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "Traceback" not in server.log_text()


def test_200_streams_run_at_once(start_server: StartServer, upstream: FakeUpstream) -> None:
    n_streams = 200
    server = in_front(start_server, upstream, "--model", "none")
    all_run = asyncio.Event()
    n_running = 0

    async def answer(reader: Any, writer: Any) -> None:
        nonlocal n_running
        await raw(STREAM_HEAD, chunk(delta("Pa")))(reader, writer)
        n_running += 1
        if n_running == n_streams:
            all_run.set()
        await all_run.wait()  # so none ends before all have begun
        await raw(chunk(delta("ris")), chunk(b"data: [DONE]\n\n"), b"0\r\n\r\n")(reader, writer)

    upstream.answer = answer

    async def texts() -> list[str]:
        limits = httpx2.Limits(max_connections=n_streams)
        async with httpx2.AsyncClient(base_url=server.url, timeout=300, limits=limits) as http:
            body = {**BODY, "stream": True}
            answers = await asyncio.gather(*(http.post(CHAT, json=body) for _ in range(n_streams)))
            return [each.text for each in answers]

    expected = (delta("Pa") + delta("ris") + b"data: [DONE]\n\n").decode()
    assert asyncio.run(texts()) == [expected] * n_streams
