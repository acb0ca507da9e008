"""SIGTERM: running streams end normally, new requests are sent elsewhere."""

from __future__ import annotations

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.e2e.openai_types import chat_chunks
from tests.e2e.server import ServerProcess, running_stream, wait_until


def is_draining(server: ServerProcess) -> bool:
    """Whether new requests are turned away."""
    return server.http.get("/v1/models").status_code == 503


def test_a_running_stream_ends_normally_and_new_requests_get_503(
    start_server: StartServer,
) -> None:
    server = start_server("--grace-period", "60")
    with running_stream(server, 1000) as parts:
        text = next(parts)
        server.signal(signal.SIGTERM)
        wait_until(lambda: is_draining(server), "draining")
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
        wait_until(lambda: is_draining(server), "draining")
        server.signal(signal.SIGTERM)
        text = "".join(parts)
    assert error_at_the_end(text)["type"] == "model_loading"
    assert server.wait() == 0
    assert "Traceback" not in server.log_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_ends_at_once_and_quietly(
    start_server: StartServer, number: signal.Signals
) -> None:
    server = start_server()
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
