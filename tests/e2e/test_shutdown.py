"""SIGTERM: running streams end normally, new requests are sent elsewhere."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from shared.storage.base import CompletionStore
from shared.storage.location import open_store
from shared.storage.types import DEFAULT_TENANT, CompletionQuery, StoredCompletion
from tests.api.openai_types import chat_chunks
from tests.conftest import StartServer
from tests.server import ServerProcess, running_stream, user, wait_until
from tests.storage.dynamodb.aws import Aws
from tests.storage.dynamodb.moto_server import ENVIRONMENT, moto_server

pytestmark = pytest.mark.usefixtures("processes")


def is_shutting_down(server: ServerProcess) -> bool:
    """Whether new requests are turned away."""
    return server.http.get("/v1/models").status_code == 503


def test_a_running_stream_ends_normally_and_new_requests_get_503(
    start_server: StartServer,
) -> None:
    server = start_server("--grace-period", "60")
    with running_stream(server, 1000) as parts:
        text = next(parts)
        server.signal(signal.SIGTERM)
        wait_until(lambda: is_shutting_down(server), "draining")
        refused = server.chat(max_tokens=1)
        health = server.http.get("/health")
        text += "".join(parts)
    status = server.wait()

    chunks = chat_chunks(text)
    assert chunks[-1].choices[0].finish_reason == "length"
    assert refused.status_code == health.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    error = refused.json()["error"]
    assert (error["type"], error["param"]) == ("model_loading", None)
    assert status == 0
    assert "Traceback" not in server.log_text()


def error_at_the_end(stream: str) -> dict[str, Any]:
    """The error that is a cut-off stream's last event."""
    assert "[DONE]" not in stream
    *events, last, end = stream.split("\n\n")
    assert end == ""
    assert len(events) > 1
    error: dict[str, Any] = json.loads(last.removeprefix("data: "))["error"]
    return error


def test_the_grace_period_cuts_off_what_takes_longer(start_server: StartServer) -> None:
    server = start_server("--grace-period", "0.1")
    with ThreadPoolExecutor(1) as pool, running_stream(server, n=8) as parts:
        whole = pool.submit(server.chat, max_tokens=3000, ignore_eos=True, n=8)
        wait_until(lambda: server.metric("requests_active") == 3, "both run")
        server.signal(signal.SIGTERM)
        text = "".join(parts)
        refused = whole.result()
    status = server.wait()
    assert error_at_the_end(text)["type"] == "model_loading"
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert status == 0
    assert "Traceback" not in server.log_text()


def test_a_second_signal_ends_at_once(start_server: StartServer) -> None:
    server = start_server("--grace-period", "600")
    with running_stream(server, n=8) as parts:
        server.signal(signal.SIGTERM)
        wait_until(lambda: is_shutting_down(server), "draining")
        server.signal(signal.SIGTERM)
        text = "".join(parts)
    assert error_at_the_end(text)["type"] == "model_loading"
    assert server.wait() == 0
    assert "Traceback" not in server.log_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_ends_at_once_and_quietly(
    start_server: StartServer, number: signal.Signals
) -> None:
    server = start_server(new_interpreter=True)  # whose end is the interpreter's
    assert server.http.get("/health").status_code == 200  # and the connection stays open
    server.signal(number)
    status = server.wait()
    assert status == 0
    assert "Traceback" not in server.log_text()


def test_ctrl_c_while_a_stream_runs_drains_too(start_server: StartServer) -> None:
    server = start_server()
    with running_stream(server, 600) as parts:
        text = next(parts)
        server.signal(signal.SIGINT)
        text += "".join(parts)
    assert chat_chunks(text)[-1].choices[0].finish_reason == "length"
    assert server.wait() == 0


def test_the_log_says_what_became_of_requests(start_server: StartServer) -> None:
    server = start_server("--grace-period", "60")
    with running_stream(server, n=2) as second, running_stream(server, 1000) as first:
        server.signal(signal.SIGTERM)
        assert '"error"' not in "".join(first)
        server.signal(signal.SIGTERM)
        n_cut_off = int('"error"' in "".join(second))  # none where this process had to wait long
    server.wait()
    log = server.log_text()
    assert "shutting down: 2 requests have 60 s to end" in log
    told = f"{2 - n_cut_off} requests ended, {n_cut_off} were cut off"
    assert f"shut down: {told}; 0 completions stored, 0 not" in log


@dataclass
class Deployment:
    """A store's location, what a server needs to reach it, and the store itself."""

    location: str
    environ: dict[str, str]
    store: CompletionStore

    def completions(self) -> list[StoredCompletion]:
        """All that is there."""
        query = CompletionQuery(tenant=DEFAULT_TENANT, kind="chat", limit=10)
        return list(self.store.list(query).completions)


@contextmanager
def on_sqlite(directory: Path) -> Iterator[Deployment]:
    location = f"sqlite:{directory / 'completions.db'}"
    store = open_store(location)
    assert store is not None
    with closing(store):
        yield Deployment(location, {}, store)


@contextmanager
def on_dynamodb(_directory: Path) -> Iterator[Deployment]:
    with moto_server() as url:
        aws = Aws.fresh(url)
        with closing(aws.store()) as store:
            store.initialize()
            location = f"dynamodb:{aws.table},{aws.bucket}"
            yield Deployment(location, {**ENVIRONMENT, "AWS_ENDPOINT_URL": url}, store)


@pytest.fixture(params=[on_sqlite, on_dynamodb])
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    """Each kind of store."""
    with request.param(tmp_path) as deployment:
        yield deployment


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Deployment]:
    """The embedded store."""
    with on_sqlite(tmp_path) as deployment:
        yield deployment


def test_a_stream_that_ends_within_the_grace_period_is_stored(
    start_server: StartServer, deployment: Deployment
) -> None:
    server = start_server("--store", deployment.location, environ=deployment.environ)
    with running_stream(server, 600, store=True) as parts:
        server.signal(signal.SIGTERM)
        text = "".join(parts)
    assert server.wait() == 0

    (kept,) = deployment.completions()
    assert "[DONE]" in text
    assert not kept.is_incomplete
    assert kept.response["usage"]["completion_tokens"] == 600
    assert "1 requests ended, 0 were cut off; 1 completions stored, 0 not" in server.log_text()


def test_a_stream_that_is_cut_off_is_stored_with_what_was_sent(
    start_server: StartServer, deployment: Deployment
) -> None:
    server = start_server(
        *("--grace-period", "0", "--store", deployment.location), environ=deployment.environ
    )
    with running_stream(server, n=8, store=True) as parts:
        text = next(parts)
        while text.count("data:") < 100:
            text += next(parts)
        server.signal(signal.SIGTERM)
        text += "".join(parts)
    assert server.wait() == 0

    (kept,) = deployment.completions()
    assert error_at_the_end(text)["type"] == "model_loading"
    assert kept.is_incomplete
    assert len(kept.response["choices"]) == 8
    assert kept.response["choices"][0]["message"]["content"].startswith("Once upon a time")
    assert kept.response["usage"]["completion_tokens"] > 0
    assert "0 requests ended, 1 were cut off; 1 completions stored, 0 not" in server.log_text()


def test_whole_answers_end_within_the_grace_period_and_are_stored(
    start_server: StartServer, sqlite: Deployment
) -> None:
    server = start_server("--store", sqlite.location)
    with ThreadPoolExecutor(1) as pool:
        whole = pool.submit(server.chat, max_tokens=3000, ignore_eos=True, store=True)
        wait_until(lambda: server.metric("sequences_running") == 1, "it runs")
        server.signal(signal.SIGTERM)
        answer = whole.result()
    assert server.wait() == 0
    (kept,) = sqlite.completions()
    assert answer.json()["usage"]["completion_tokens"] == 3000
    assert kept.id == answer.json()["id"]


def test_an_answer_that_nobody_got_is_not_stored(
    start_server: StartServer, sqlite: Deployment
) -> None:
    server = start_server("--grace-period", "0", "--store", sqlite.location)
    with ThreadPoolExecutor(1) as pool:
        whole = pool.submit(server.chat, max_tokens=3000, ignore_eos=True, n=8, store=True)
        wait_until(lambda: server.metric("sequences_running") == 8, "it runs")
        server.signal(signal.SIGTERM)
        refused = whole.result()
    assert server.wait() == 0
    assert refused.status_code == 503  # so the client tries again, elsewhere
    assert sqlite.completions() == []


PATIENT = ("--transfer-timeout", "600")
"""With clients that don't read."""


@contextmanager
def stream_unread(server: ServerProcess) -> Iterator[socket.socket]:
    """A stream to a client that reads none of it, all of it generated: more megabytes than the
    kernel keeps for a client."""
    body = json.dumps(
        {
            "messages": user("Tell me a story"),
            "ignore_eos": True,
            "max_tokens": 400,
            "n": 8,
            "logprobs": True,
            "top_logprobs": 20,
            "stream": True,
            "store": True,
        }
    ).encode()
    address = urlsplit(server.url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        connection.connect((address.hostname, address.port))
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        connection.recv(1)
        wait_until(lambda: server.metric("completion_tokens_total") == 8 * 400, "generated")
        assert server.metric("requests_active") == 2, "it is still being sent"
        yield connection


def test_a_client_that_reads_slowly_gets_all_within_the_grace_period(
    start_server: StartServer, sqlite: Deployment
) -> None:
    server = start_server(*PATIENT, "--grace-period", "60", "--store", sqlite.location)
    with stream_unread(server) as connection:
        server.signal(signal.SIGTERM)
        wait_until(lambda: is_shutting_down(server), "draining")
        received = bytearray()
        while part := connection.recv(2**16):
            received += part
    assert server.wait() == 0
    (kept,) = sqlite.completions()
    assert b"data: [DONE]" in received
    assert not kept.is_incomplete


def test_a_client_that_does_not_read_holds_up_nothing_after_the_grace_period(
    start_server: StartServer, sqlite: Deployment
) -> None:
    server = start_server(*PATIENT, "--grace-period", "0", "--store", sqlite.location)
    with stream_unread(server):
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    (kept,) = sqlite.completions()
    assert kept.response["usage"]["completion_tokens"] == 8 * 400
    # On a busy machine it is stored after the count: nobody waits for that longer than seconds.
    assert re.search("1 were cut off; [01] completions stored, 0 not", server.log_text())
    assert "Traceback" not in server.log_text()
