"""Streams of responses and messages that don't end by themselves: shutdown, client disconnects."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.server import ServerProcess, user, wait_until

pytestmark = pytest.mark.usefixtures("processes")

STREAMS: dict[str, dict[str, Any]] = {
    "/v1/responses": {"input": "Tell me a story", "max_output_tokens": 3000},
    "/v1/messages": {"messages": user("Tell me a story"), "max_tokens": 3000},
}


@contextmanager
def running(server: ServerProcess, path: str) -> Iterator[Iterator[str]]:
    """A long stream whose text has begun."""
    body = {**STREAMS[path], "stream": True, "ignore_eos": True}
    with server.client() as http, http.stream("POST", path, json=body) as response:
        parts = response.iter_text()
        while "delta" not in next(parts):
            pass
        yield parts


def test_a_stream_that_a_shutdown_cuts_off_says_so(start_server: StartServer) -> None:
    server = start_server("--grace-period", "0.1")
    with running(server, "/v1/responses") as response, running(server, "/v1/messages") as message:
        server.signal(signal.SIGTERM)
        of_response, of_message = "".join(response), "".join(message)
    assert server.wait() == 0
    *_, error, failed = (json.loads(event.split("data: ")[1]) for event in events(of_response))
    assert (error["type"], failed["type"]) == ("error", "response.failed")
    assert failed["response"]["status"] == "failed"
    *_, last = (json.loads(event.split("data: ")[1]) for event in events(of_message))
    assert (last["type"], last["error"]["type"]) == ("error", "overloaded_error")
    log = server.log_text()
    assert "Traceback" not in log
    assert "story" not in log


def events(text: str) -> list[str]:
    """The events, without comments."""
    return [event for event in text.split("\n\n") if "data: " in event]


@pytest.mark.parametrize("path", STREAMS)
def test_a_client_that_disconnects_ends_the_generation(
    start_server: StartServer, path: str
) -> None:
    server = start_server()
    with running(server, path):
        server.signal(signal.SIGSTOP)  # a fast one would have generated all before the client ends
    server.signal(signal.SIGCONT)
    wait_until(lambda: server.metric("sequences_running") == 0, "the generation ends")
    assert 0 < server.metric("completion_tokens_total") < 2000
    assert "Traceback" not in server.log_text()


@pytest.mark.parametrize("grace", ["0.1", "60"])
def test_a_shutdown_waits_for_the_background(
    start_server: StartServer, tmp_path: Path, grace: str
) -> None:
    """What is cut off has failed, and is stored with what there was."""
    data = ("--data-dir", str(tmp_path))
    server = start_server(*data, "--grace-period", grace)
    body = {"input": "Tell me a story", "max_output_tokens": 3000, "ignore_eos": True}
    asked = {**body, "background": True, "store": True}
    begun = server.http.post("/v1/responses", json=asked).raise_for_status().json()
    path = f"/v1/responses/{begun['id']}"
    wait_until(lambda: server.http.get(path).json()["status"] == "in_progress", "the first token")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "Traceback" not in server.log_text()
    found = start_server(*data).http.get(path).json()
    if grace == "60":
        assert (found["status"], found["error"]) == ("incomplete", None)
        assert found["incomplete_details"] == {"reason": "max_output_tokens"}
    else:
        assert (found["status"], found["error"]["code"]) == ("failed", "server_error")
        assert found["incomplete_details"] is None
