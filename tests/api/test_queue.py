"""A full queue turns requests away; whoever was accepted is served."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from openai import RateLimitError

from tests.api.conftest import StartServer
from tests.api.openai_types import chat_chunks
from tests.server import CAPITAL, Server, running_stream, wait_until


@pytest.fixture
def narrow_server(start_server: StartServer) -> Server:
    """A server with one place in the batch and two in the queue."""
    return start_server("--parallel", "1", "--max-queue", "2")


@pytest.mark.slow
def test_requests_beyond_the_queue_get_429_and_the_others_finish(
    narrow_server: Server,
) -> None:
    server = narrow_server
    with ThreadPoolExecutor(2) as pool:
        with running_stream(server):
            waiting = [pool.submit(server.chat, temperature=0, stream=s) for s in (False, True)]
            wait_until(lambda: server.metric("requests_queued") == 2, "two requests wait")

            refused = [server.chat(temperature=0, stream=stream) for stream in (False, True)]
            with (
                server.openai() as client,
                pytest.raises(RateLimitError) as caught,
            ):
                client.completions.create(model=server.model, prompt="x")
            assert not any(future.done() for future in waiting)
        whole, streamed = (future.result() for future in waiting)

    for response in refused:
        assert response.status_code == 429
        assert int(response.headers["retry-after"]) >= 1
        error = response.json()["error"]
        assert (error["type"], error["code"], error["param"]) == ("overloaded", "queue_full", None)
    assert caught.value.code == "queue_full"
    assert "Paris" in whole.text
    assert chat_chunks(streamed.text)[-1].choices[0].finish_reason == "stop"
    assert server.chat(temperature=0).status_code == 200


@pytest.mark.sweep(1)
@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/chat/completions", {"messages": CAPITAL, "n": 3}, "n"),
        ("/v1/chat/completions", {"messages": CAPITAL, "n": 128, "stream": True}, "n"),
        ("/v1/completions", {"prompt": ["a", "b", "c"]}, "prompt"),
        ("/v1/completions", {"prompt": ["a", "b"], "n": 2, "stream": True}, "n"),
        ("/completion", {"prompt": ["a", "b", "c"]}, "prompt"),
        ("/completion", {"prompt": "a", "n_cmpl": 3}, "n"),
    ],
)
def test_a_request_of_more_completions_than_can_wait_is_refused(
    narrow_server: Server, path: str, body: dict[str, object], param: str
) -> None:
    response = narrow_server.post(path, body)

    error = response.json()["error"]
    assert response.status_code == 400
    assert (error["code"], error["param"]) == ("invalid_value", param)
    assert "(2)" in error["message"]


def test_completions_are_counted_not_requests(narrow_server: Server) -> None:
    server = narrow_server
    with running_stream(server):
        with running_stream(server):
            wait_until(lambda: server.metric("requests_queued") == 1, "it waits")
            refused = server.chat(n=2)
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.headers["retry-after"] in refused.json()["error"]["message"]
    wait_until(server.is_idle, "nothing is left")


def test_one_keys_requests_do_not_fill_the_queue_of_another(start_server: StartServer) -> None:
    server = start_server("--parallel", "1", "--max-queue", "1", "--api-key", "one,two")
    server.http.headers["authorization"] = "Bearer one"
    one, two = ({"authorization": f"Bearer {key}"} for key in ("one", "two"))
    story = {"messages": CAPITAL, "max_tokens": 2000, "ignore_eos": True, "stream": True}
    with (
        server.client() as client,
        client.stream("POST", "/v1/chat/completions", json=story, headers=one) as running,
    ):
        lines = running.iter_lines()
        next(lines)
        with ThreadPoolExecutor(2) as pool:
            body = {"messages": CAPITAL, "max_tokens": 1}
            path = "/v1/chat/completions"
            waits = [pool.submit(server.post, path, body, headers=key) for key in (one, two)]
            wait_until(lambda: server.metric("requests_queued") == 2, "both wait")
            assert server.post(path, body, headers=one).status_code == 429
            running.close()
            assert [waiting.result().status_code for waiting in waits] == [200, 200]


def test_a_request_that_waits_may_be_withdrawn(narrow_server: Server) -> None:
    server = narrow_server
    with running_stream(server, n=2):
        with running_stream(server):
            wait_until(lambda: server.metric("requests_queued") == 1, "it waits")
        wait_until(lambda: server.metric("requests_queued") == 0, "it has left the queue")
        assert server.metric("sequences_running") == 1
        assert server.metric("cancelled_sequences_total") == 1
    wait_until(server.is_idle, "nothing is left")


@pytest.mark.slow
def test_priority_is_served_before_flex(narrow_server: Server) -> None:
    server = narrow_server

    def ask(tier: str) -> int:
        body = {"messages": CAPITAL, "service_tier": tier, "max_tokens": 1}
        headers = {"x-request-id": f"asked-{tier}"}
        return server.post("/v1/chat/completions", body, headers=headers).status_code

    with ThreadPoolExecutor(2) as pool:
        with running_stream(server):
            flex = pool.submit(ask, "flex")
            wait_until(lambda: server.metric("requests_queued") == 1, "flex waits")
            priority = pool.submit(ask, "priority")
            wait_until(lambda: server.metric("requests_queued") == 2, "priority waits")
        assert priority.result() == flex.result() == 200
    finished = re.findall(r"asked-\w+", server.log_text())
    assert finished == ["asked-priority", "asked-flex"]
