"""A model that takes longer than an initialization may, or can't be had, on demand."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from functions.aws_lambda import model_start
from functions.aws_lambda.model_start import ModelStart
from shared.config.settings import Settings
from shared.models.sources import BUILTIN_PATH
from shared.protocol.errors import APIError
from shared.runtime.loader import ModelLoader
from shared.runtime.state import ServerState
from tests.aws_lambda.conftest import StartFunction
from tests.aws_lambda.events import http_api_event
from tests.models.s3_server import BUCKET, S3Server, environment
from tests.server import CAPITAL

KEY = "llms/small.gguf"


@pytest.fixture
def s3(stand_ins: None) -> Iterator[S3Server]:
    """A bucket with nothing in it."""
    with S3Server().serving() as server:
        yield server


@pytest.fixture
def state(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServerState]:
    """Of a server that is to have the model of that bucket, whose loading has not begun."""
    for name, value in environment(s3.url).items():
        monkeypatch.setenv(name, value)
    settings = Settings(model=f"s3://{BUCKET}/{KEY}", model_cache="memory", ctx_size=512)
    state = ServerState(settings, ModelLoader(settings))
    yield state
    state.close()


def code(state: ServerState) -> str | None:
    """The error that requests get which need the model, None if they have it."""
    try:
        state.model()
    except APIError as error:
        return error.code
    return None


def test_initialization_ends_in_time_and_an_invocation_goes_on_waiting(
    state: ServerState, s3: S3Server
) -> None:
    may_answer = threading.Event()
    s3.on_get = lambda number: (may_answer.wait(60), None)[1]
    s3.put(KEY, BUILTIN_PATH.read_bytes())
    state.loader.start()
    model = ModelStart(state, started=time.monotonic() - 7.9)

    model.initialize()
    after_initialization = code(state)
    model.await_model(remaining=1.1)
    after_first = code(state)
    may_answer.set()
    model.await_model(remaining=60)

    assert after_initialization == after_first == "model_loading"
    assert code(state) is None
    assert len(s3.gets) == len(set(s3.gets)) > 0, "it is fetched once"


def test_a_failure_is_not_the_last_word(
    state: ServerState, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.loader.start()
    model = ModelStart(state, started=time.monotonic())
    model.initialize()
    failed = state.loader
    s3.put(KEY, BUILTIN_PATH.read_bytes())

    model.await_model(remaining=60)
    at_once = state.loader
    monkeypatch.setattr(model_start, "_RETRY_SECONDS", 0.0)
    model.await_model(remaining=60)

    assert failed.error is not None
    assert at_once is failed, "not before the pause is over"
    assert code(state) is None


def test_the_caller_gets_an_envelope_and_the_log_one_line_with_the_cause(
    start_function: StartFunction, s3: S3Server
) -> None:
    function = start_function(
        environ={"PILOTLIGHT_MODEL": f"s3://{BUCKET}/none.gguf", **environment(s3.url)}
    )
    event = http_api_event("POST", "/v1/chat/completions", {"messages": CAPITAL})
    responses = [function.request(event) for _ in range(2)]
    lines = [line for line in function.log_text().splitlines() if "none.gguf" in line]
    assert [response.status for response in responses] == [500, 500]
    assert responses[0].error["code"] == "model_unavailable"
    assert "none" not in responses[0].text
    assert len(lines) == 1
    assert "key 'none.gguf' of bucket 'models' from S3: no such key" in lines[0]
    assert "Traceback" not in function.log_text()
