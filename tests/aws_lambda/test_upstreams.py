"""InferenceFunction with models of others, and with nothing else: streamed and whole, key in SSM."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.aws_lambda.conftest import StartFunction
from tests.aws_lambda.events import KEY, http_api_event
from tests.aws_lambda.function import API, INFERENCE
from tests.aws_lambda.streaming import StreamingServer
from tests.server import CAPITAL
from tests.storage.dynamodb.aws import Aws
from tests.upstreams.fake_upstream import (
    STREAM_HEAD,
    FakeUpstream,
    chunk,
    completion,
    delta,
    stalls,
    stream,
    whole,
)

UPSTREAM_KEY = "sk-of-the-upstream-0123456789"
BODY: Any = {"model": "big", "messages": CAPITAL}
EVENTS = (delta("Pa"), delta("ris"), b"data: [DONE]\n\n")


@pytest.fixture(scope="module")
def upstream(stand_ins: None) -> Iterator[FakeUpstream]:
    """A fake upstream."""
    fake = FakeUpstream()
    yield fake
    fake.stop()


@pytest.fixture(scope="module")
def environ(upstream: FakeUpstream, aws: Aws) -> dict[str, str]:
    """Settings of functions in front of it."""
    parameters = boto3.client(
        *("ssm", "us-east-1"),
        endpoint_url=aws.url,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    parameters.put_parameter(Name="/keys/big", Value=UPSTREAM_KEY, Type="SecureString")
    return {
        "AWS_ENDPOINT_URL": aws.url,
        "PILOTLIGHT_MODEL": "none",
        "PILOTLIGHT_MODELS": json.dumps({"big": upstream.section(key="ssm:/keys/big")}),
    }


@pytest.fixture(scope="module")
def streaming(
    processes: None, environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StreamingServer]:
    """The streaming function without a model of its own."""
    log: Path = tmp_path_factory.mktemp("upstreams") / "server.log"
    server = StreamingServer(log, environ)
    server.await_health(200)
    yield server
    server.stop()


def test_a_stream_passes_as_it_comes(streaming: StreamingServer, upstream: FakeUpstream) -> None:
    upstream.answer = stalls(STREAM_HEAD, chunk(EVENTS[0]))
    arguments = streaming.pass_on({**BODY, "stream": True})
    with streaming.http.stream(**arguments) as answered:
        assert next(answered.iter_bytes()) == EVENTS[0]
    assert upstream.received[-1].headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert "x-amzn-lambda-context" not in upstream.received[-1].headers
    assert upstream.received[-1].is_closed.wait(60)


def test_a_stream_ends_with_the_functions_time(
    streaming: StreamingServer, upstream: FakeUpstream
) -> None:
    upstream.answer = stalls(STREAM_HEAD, chunk(EVENTS[0]))
    # The margin before the timeout, two seconds, has passed already.
    answered = streaming.http.request(**streaming.pass_on({**BODY, "stream": True}, timeout=2.5))
    last = answered.text.removesuffix("\n\n").rpartition("data: ")[2]
    error = json.loads(last)["error"] if answered.status_code == 200 else answered.json()["error"]
    assert error["code"] == "upstream_timeout"


def test_it_serves_others_models_alone(streaming: StreamingServer) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    models = streaming.http.get("/v1/models", headers=headers).json()["data"]
    assert [model["id"] for model in models] == ["big"]
    assert streaming.http.get("/v1/models").status_code == 401
    refused = streaming.http.request(**streaming.pass_on({**BODY, "model": "none"}))
    assert refused.status_code == 404
    assert UPSTREAM_KEY not in streaming.log_text()


def test_the_buffered_function_answers_in_one_piece(
    start_function: StartFunction, upstream: FakeUpstream, environ: dict[str, str]
) -> None:
    function = start_function(INFERENCE, environ)
    upstream.answer = whole(completion())
    for _ in range(2):
        answered = function.request(http_api_event("POST", "/v1/chat/completions", BODY))
        assert answered.json() == completion()
    upstream.answer = stream(*EVENTS)
    event = http_api_event("POST", "/v1/chat/completions", {**BODY, "stream": True})
    assert function.request(event).text == b"".join(EVENTS).decode()


def test_the_function_with_a_model_answers_for_others_too(
    start_function: StartFunction, upstream: FakeUpstream, environ: dict[str, str]
) -> None:
    function = start_function(INFERENCE, {**environ, "PILOTLIGHT_MODEL": "builtin"})
    upstream.answer = whole(completion())
    answered = function.request(http_api_event("POST", "/v1/chat/completions", BODY))
    assert answered.json() == completion()
    own = {"messages": CAPITAL, "max_tokens": 1}
    answered = function.request(http_api_event("POST", "/v1/chat/completions", own))
    assert answered.json()["model"] == "pilotlight-builtin"


def test_the_function_for_all_else_lists_them_and_reads_no_key(
    start_function: StartFunction, environ: dict[str, str]
) -> None:
    models = json.loads(environ["PILOTLIGHT_MODELS"])
    models["big"]["key"] = "ssm:/keys/not-for-this-function"
    settings = {"PILOTLIGHT_MODEL": "builtin", "PILOTLIGHT_MODELS": json.dumps(models)}
    function = start_function(API, {**environ, **settings})
    listed = function.request(http_api_event("GET", "/v1/models")).json()["data"]
    assert [model["id"] for model in listed] == ["pilotlight-builtin", "big"]
    assert "not-for-this-function" not in function.log_text()
