"""Fallback: other models answer before the first byte, where the one that was asked for fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from shared.upstreams.request import with_model
from tests.app_server import AppServer
from tests.server import wait_until
from tests.upstreams.conftest import KEY
from tests.upstreams.fake_upstream import (
    STREAM_HEAD,
    Answer,
    FakeUpstream,
    chunk,
    raw,
    stalls,
    stream,
    whole,
)

MODES = ("direct", "adapter")
ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "theirs",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Paris"}}
    ],
    "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6},
}
DELTA = b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"Pa"}}]}\n\n'
END = b'data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


@pytest.fixture(scope="module")
def other() -> Iterator[FakeUpstream]:
    """The upstream that stands in."""
    fake = FakeUpstream()
    yield fake
    fake.stop()


@pytest.fixture(scope="module")
def server(
    fake_upstream: FakeUpstream, other: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AppServer]:
    """The app with models of both upstreams, that stand in for each other."""
    models: dict[str, dict[str, Any]] = {}
    for mode in MODES:
        first = {**fake_upstream.section(mode=mode), "timeout": 60}
        models |= {
            f"{mode}-big": {**first, "fallback": [f"{mode}-other"]},
            f"{mode}-hasty": {**first, "timeout": 5, "fallback": [f"{mode}-other"]},
            f"{mode}-local": {**first, "fallback": ["pilotlight-builtin"]},
            f"{mode}-several": {
                **first,
                "fallback": [f"{mode}-closed", f"{mode}-other", "pilotlight-builtin"],
            },
            f"{mode}-other": other.section(mode=mode, model="theirs"),
            f"{mode}-closed": {"upstream": "http://127.0.0.1:1/v1", "mode": mode},
            f"{mode}-fragile": {**first, "max_failures": 2, "fallback": [f"{mode}-other"]},
            f"{mode}-alone": {**first, "max_failures": 2},
        }
    environ = {"FAKE_KEY": KEY, "PILOTLIGHT_MODELS": json.dumps(models)}
    directory: Path = tmp_path_factory.mktemp("fallback")
    server = AppServer(directory / "fallback.log", "--model", "builtin", environ=environ)
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def answering(upstream: FakeUpstream, other: FakeUpstream) -> None:
    """The other one answers."""
    other.received.clear()
    other.answer = whole(ANSWER)


def ask(server: AppServer, model: str, **fields: Any) -> httpx2.Response:
    return server.chat(model=model, max_tokens=2, **fields)


def served_by(answer: httpx2.Response) -> str:
    assert answer.status_code == 200, answer.text
    return answer.headers["x-pilotlight-served-by"]


FAILURES: dict[str, Answer] = {
    "408": whole({"error": {"message": "slow"}}, 408),
    "429": whole({"error": {"message": "Slow down"}}, 429, retry_after="7"),
    "500": whole({"error": {"message": "oops"}}, 500),
    "503": whole({"error": {"message": "busy"}}, 503),
    "529": whole({"error": {"message": "overloaded"}}, 529),
    "401": whole({"error": {"message": "wrong key"}}, 401),
    "402": whole({"error": {"message": "no credits"}}, 402),
    "closes": raw(closes=True),
    "no HTTP": raw(b"SSH-2.0-OpenSSH\r\n", closes=True),
    "redirect": whole({}, 302, location="http://127.0.0.1:1"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("failure", FAILURES)
def test_another_model_answers_where_one_fails(
    server: AppServer, upstream: FakeUpstream, other: FakeUpstream, mode: str, failure: str
) -> None:
    upstream.answer = FAILURES[failure]
    answer = ask(server, f"{mode}-big")
    assert served_by(answer) == f"127.0.0.1:{other.port}"
    assert answer.json()["choices"][0]["message"]["content"] == "Paris"
    assert json.loads(other.received[0].body)["model"] == "theirs"
    # An idle connection that is closed without a word is replaced by another one.
    assert len(upstream.received) <= 1 + (failure == "closes")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("status", [400, 403, 404, 413, 422])
def test_the_callers_mistakes_are_its_own(
    server: AppServer, upstream: FakeUpstream, other: FakeUpstream, mode: str, status: int
) -> None:
    upstream.answer = whole({"error": {"message": "what?"}}, status)
    assert ask(server, f"{mode}-big").status_code == status
    assert not other.received


def test_an_upstream_that_stalls_before_the_first_byte_leaves_time_for_another(
    server: AppServer, upstream: FakeUpstream, other: FakeUpstream
) -> None:
    upstream.answer = stalls()
    other.answer = stream(DELTA, END)
    with ThreadPoolExecutor(len(MODES)) as threads:
        answers = threads.map(lambda mode: ask(server, f"{mode}-hasty", stream=True), MODES)
        assert [served_by(answer) for answer in answers] == [f"127.0.0.1:{other.port}"] * 2


def test_an_answer_in_adapter_mode_has_begun_with_its_first_part(
    server: AppServer, upstream: FakeUpstream, other: FakeUpstream
) -> None:
    upstream.answer = raw(STREAM_HEAD, closes=True)
    other.answer = stream(DELTA, END)
    answer = ask(server, "adapter-big", stream=True)
    assert served_by(answer) == f"127.0.0.1:{other.port}"


@pytest.mark.parametrize("mode", MODES)
def test_after_the_first_byte_nobody_else_is_asked(
    server: AppServer, upstream: FakeUpstream, other: FakeUpstream, mode: str
) -> None:
    upstream.answer = raw(STREAM_HEAD, chunk(DELTA), closes=True)
    answer = ask(server, f"{mode}-big", stream=True)
    assert served_by(answer) == f"127.0.0.1:{upstream.port}"
    assert "upstream_connection_failed" in answer.text
    assert not other.received


def test_an_answer_that_stalls_in_the_middle_is_nobody_elses(
    server: AppServer, upstream: FakeUpstream, other: FakeUpstream
) -> None:
    upstream.answer = stalls(STREAM_HEAD, chunk(DELTA))
    with ThreadPoolExecutor(len(MODES)) as threads:
        for answer in threads.map(lambda mode: ask(server, f"{mode}-hasty", stream=True), MODES):
            assert served_by(answer) == f"127.0.0.1:{upstream.port}"
            assert "upstream_timeout" in answer.text
    assert not other.received


@pytest.mark.parametrize("mode", MODES)
def test_an_own_model_stands_in(server: AppServer, upstream: FakeUpstream, mode: str) -> None:
    upstream.answer = FAILURES["503"]
    for is_streamed in (False, True):
        answer = ask(server, f"{mode}-local", stream=is_streamed)
        assert served_by(answer) == "pilotlight"
        assert "pilotlight-builtin" in answer.text


@pytest.mark.parametrize("mode", MODES)
def test_models_are_tried_in_their_order(
    server: AppServer, upstream: FakeUpstream, other: FakeUpstream, mode: str
) -> None:
    upstream.answer = FAILURES["500"]
    assert served_by(ask(server, f"{mode}-several")) == f"127.0.0.1:{other.port}"
    other.answer = FAILURES["429"]
    assert served_by(ask(server, f"{mode}-several")) == "pilotlight"


@pytest.mark.parametrize("mode", MODES)
def test_where_none_can_answer_the_first_error_is_told(
    server: AppServer, upstream: FakeUpstream, other: FakeUpstream, mode: str
) -> None:
    upstream.answer = FAILURES["429"]
    for status in (503, 400):
        other.answer = whole({"error": {"message": "theirs"}}, status)
        answer = ask(server, f"{mode}-big")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
        assert answer.headers["x-pilotlight-served-by"] == f"127.0.0.1:{upstream.port}"


@pytest.mark.parametrize("mode", MODES)
def test_one_that_fails_again_and_again_is_left_alone(
    server: AppServer, upstream: FakeUpstream, other: FakeUpstream, mode: str
) -> None:
    upstream.answer = FAILURES["500"]
    for _ in range(4):
        assert served_by(ask(server, f"{mode}-fragile")) == f"127.0.0.1:{other.port}"
    assert len(upstream.received) == 2
    statuses = [ask(server, f"{mode}-alone") for _ in range(3)]
    assert [answer.status_code for answer in statuses] == [500, 500, 503]
    assert statuses[-1].json()["error"]["code"] == "upstream_unavailable"
    assert 1 <= int(statuses[-1].headers["retry-after"]) <= 5


def test_what_is_stored_says_who_served_it(
    server: AppServer, upstream: FakeUpstream, other: FakeUpstream
) -> None:
    upstream.answer = FAILURES["503"]
    for model, name, host in (
        ("adapter-big", "adapter-other", f"127.0.0.1:{other.port}"),
        ("adapter-local", "pilotlight-builtin", None),
    ):
        kept = ask(server, model, store=True).json()["id"]
        found = server.http.get(f"/v1/chat/completions/{kept}").json()
        assert found["model"] == name
        assert found.get("served_by") == host


def test_a_model_that_cannot_be_loaded_has_a_stand_in(tmp_path: Path, other: FakeUpstream) -> None:
    models = {"mine": {"source": "nowhere.gguf", "fallback": ["theirs"]}, "theirs": other.section()}
    environ = {"FAKE_KEY": KEY, "PILOTLIGHT_MODELS": json.dumps(models)}
    server = AppServer(tmp_path / "x.log", "--model", "builtin", environ=environ)
    try:
        assert served_by(ask(server, "mine")) == f"127.0.0.1:{other.port}"
        assert json.loads(other.received[0].body)["model"] == "theirs"
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("body", "replaced"),
    [
        (b'{"messages": []}', b'{"model":"m","messages": []}'),
        (b"{}", b'{"model":"m"}'),
        (b' { "user": "model" }', b' {"model":"m", "user": "model" }'),
        (b'{"model": null, "n": 1}', b'{"model": "m", "n": 1}'),
        (b'{"x": {"model": "y"}}', b'{"model":"m","x": {"model": "y"}}'),
        (b'{"model": "y"}', b'{"model": "m"}'),
    ],
)
def test_a_body_names_the_model_that_is_asked(body: bytes, replaced: bytes) -> None:
    assert with_model(body, "m") == replaced


def test_a_warm_upstream_answers_while_an_own_model_is_cold(
    tmp_path: Path, other: FakeUpstream
) -> None:
    models = {
        "small": {"source": "builtin", "alias": ["s"], "while_cold": "theirs"},
        "theirs": other.section(),
    }
    environ = {"FAKE_KEY": KEY, "PILOTLIGHT_MODELS": json.dumps(models)}
    server = AppServer(tmp_path / "x.log", "--model", "builtin", environ=environ)
    try:
        assert served_by(ask(server, "s")) == f"127.0.0.1:{other.port}"
        # Which began to load it.
        wait_until(
            lambda: server.http.get("/v1/models/small").json()["status"]["value"] == "loaded",
            "loaded",
        )
        answer = ask(server, "s")
        assert answer.json()["model"] == "small"
        assert len(other.received) == 1
    finally:
        server.stop()


def test_a_cold_model_is_waited_for_where_its_stand_in_fails(
    tmp_path: Path, other: FakeUpstream
) -> None:
    models = {"small": {"source": "builtin", "while_cold": "theirs"}, "theirs": other.section()}
    environ = {"FAKE_KEY": KEY, "PILOTLIGHT_MODELS": json.dumps(models)}
    server = AppServer(tmp_path / "x.log", "--model", "builtin", environ=environ)
    try:
        other.answer = FAILURES["429"]
        assert ask(server, "small").json()["model"] == "small"
    finally:
        server.stop()


def test_a_stand_in_of_a_cold_model_refuses_for_itself_alone(
    tmp_path: Path, other: FakeUpstream
) -> None:
    models = {
        "small": {"source": "builtin", "while_cold": "theirs"},
        "gone": {"source": "nowhere.gguf", "while_cold": "theirs"},
        "theirs": other.section(),
    }
    environ = {"FAKE_KEY": KEY, "PILOTLIGHT_MODELS": json.dumps(models)}
    server = AppServer(tmp_path / "x.log", "--model", "builtin", environ=environ)
    try:
        for status in (400, 500):
            other.answer = whole({"error": {"message": "theirs"}}, status)
            error = ask(server, "gone").json()["error"]
            assert error["code"] == "model_unavailable"
        other.answer = whole({"error": {"message": "theirs"}}, 400)
        assert ask(server, "small").json()["model"] == "small"
    finally:
        server.stop()
