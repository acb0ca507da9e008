"""What the streaming handler tells: many requests at once in one process, logged and traced."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.aws_lambda import emf
from tests.aws_lambda.events import KEY
from tests.aws_lambda.streaming import start_script
from tests.otlp import ERROR, SERVER, Daemon, Span, receiver
from tests.ports import free_port
from tests.server import CAPITAL, START_SECONDS, STOP_SECONDS, user, wait_until
from tests.storage.dynamodb.aws import Aws
from tests.storage.dynamodb.moto_server import ENVIRONMENT, moto_server

pytestmark = pytest.mark.usefixtures("processes")

MARKER = "Xylophagous"
CHAT = "/v1/chat/completions"
ROOT = "1-67891233-abcdef012345678912345678"
TRACE = "67891233abcdef012345678912345678"
PARENT = "53995c3f42cd8ad8"


class StreamingFunction:
    """The start script's process, called as the Lambda Web Adapter does."""

    def __init__(self, log: Path, environ: Mapping[str, str]) -> None:
        self._log = log
        port = free_port()
        self._process = start_script(log, {"AWS_LWA_PORT": str(port), **environ})
        self._http = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=300)
        self._await_health()

    def _await_health(self) -> None:
        wait_until(self._is_healthy, "healthy", START_SECONDS)

    def _is_healthy(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            return self._http.get("/health").status_code == 200
        except httpx2.TransportError:
            return False

    def chat(self, invocation: str, trace: str | None = None, **fields: Any) -> httpx2.Response:
        """A chat completion in the invocation of that id."""
        context = {
            "request_id": invocation,
            "deadline": int((time.time() + 60) * 1000),
            "invoked_function_arn": "arn:aws:lambda:us-east-1:123456789012:function:streaming",
            "xray_trace_id": trace,
        }
        headers = {"authorization": f"Bearer {KEY}", "x-amzn-lambda-context": json.dumps(context)}
        return self._http.post(CHAT, json={"messages": CAPITAL, **fields}, headers=headers)

    def text(self) -> str:
        """All that it wrote."""
        return self._log.read_text(encoding="utf-8")

    def lines(self) -> list[dict[str, Any]]:
        """The same, parsed."""
        return [json.loads(line) for line in self.text().splitlines()]

    def stop(self) -> None:
        """End the process."""
        self._http.close()
        self._process.kill()
        self._process.wait(STOP_SECONDS)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon() as daemon:
        yield daemon


@pytest.fixture(scope="module")
def function(
    daemon: Daemon, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StreamingFunction]:
    with moto_server() as url:
        aws = Aws.fresh(url)
        aws.store().initialize()
        environ = {
            **ENVIRONMENT,
            "AWS_ENDPOINT_URL": url,
            "AWS_XRAY_DAEMON_ADDRESS": daemon.address,
            "PILOTLIGHT_STORE": f"dynamodb:{aws.table},{aws.bucket}",
        }
        log = tmp_path_factory.mktemp("streaming") / "streaming.log"
        function = StreamingFunction(log, environ)
        yield function
        function.stop()


def sampled(parent: str = PARENT) -> str:
    return f"Root={ROOT};Parent={parent};Sampled=1"


def test_requests_at_the_same_time_keep_their_own_ids(function: StreamingFunction) -> None:
    names = [f"invocation-{number}" for number in range(12)]
    with ThreadPoolExecutor(12) as pool:
        responses = list(pool.map(lambda name: function.chat(name, stream=True), names))

    assert {response.headers["x-request-id"] for response in responses} == set(names)
    for name in names:
        of_it = [line for line in function.lines() if line.get("function_request_id") == name]
        assert len(of_it) == 2
        [metrics] = [line for line in of_it if "_aws" in line]
        [access] = [line for line in of_it if "level" in line]
        assert list(emf.problems(json.dumps(metrics))) == []
        assert metrics["request_id"] == access["request_id"] == name
        assert metrics["service"] == access["service"] == "inference"
        assert metrics["CompletionTokens"] == [access["completion_tokens"]]


def test_what_is_no_invocation_is_neither_counted_nor_logged(function: StreamingFunction) -> None:
    assert not [line for line in function.lines() if line.get("path") == "/health"]


def named(spans: list[Span]) -> dict[str, Span]:
    return {span.name: span for span in spans}


def test_a_traced_request_shows_where_its_time_went(
    function: StreamingFunction, daemon: Daemon
) -> None:
    began = time.time()
    daemon.take()

    messages = user(f"{MARKER}. What is the capital of France?")
    response = function.chat("traced", sampled(), messages=messages)

    spans = daemon.take()
    found = named(spans)
    generation = "chat pilotlight-builtin"
    assert set(found) == {"queue", "prefill", "decode", generation, f"POST {CHAT}"}
    request = found[f"POST {CHAT}"]
    assert {span.trace for span in spans} == {TRACE}
    assert (request.parent, request.kind) == (PARENT, SERVER)
    assert request.resource["service.name"] == "inference"
    assert request.resource["cloud.platform"] == "aws_lambda"
    assert request.attributes | {"faas.coldstart": None} == {
        "http.request.method": "POST",
        "http.route": CHAT,
        "http.response.status_code": 200,
        "pilotlight.request_id": "traced",
        "pilotlight.initialization_type": "on-demand",
        "faas.invocation_id": "traced",
        "faas.coldstart": None,
        "gen_ai.request.model": "pilotlight-builtin",
        "aws.xray.annotations": [
            "http.route",
            "http.response.status_code",
            "error.type",
            "gen_ai.request.model",
            "faas.coldstart",
        ],
    }
    body = response.json()
    whole = found[generation]
    assert whole.attributes["gen_ai.response.id"] == body["id"]
    assert whole.attributes["gen_ai.usage.input_tokens"] == body["usage"]["prompt_tokens"]
    assert whole.attributes["gen_ai.usage.output_tokens"] == body["usage"]["completion_tokens"]
    parts = [found[name] for name in ("queue", "prefill", "decode")]
    assert whole.parent == request.id
    assert all(part.parent == whole.id for part in parts)
    moments = [began, request.start, *[part.start for part in parts]]
    assert moments == sorted(moments)
    assert parts[0].end == pytest.approx(parts[1].start, abs=1e-3)
    assert parts[-1].end <= request.end <= time.time()
    assert MARKER not in repr(spans)
    assert "Paris" not in repr(spans)


def test_storing_is_traced_down_to_the_calls_of_aws(
    function: StreamingFunction, daemon: Daemon
) -> None:
    daemon.take()

    response = function.chat("stored", sampled(), store=True, metadata={"kind": MARKER})

    assert response.headers["x-stored"] == "true"
    found = daemon.take()
    calls = {span.name: span for span in found if "rpc.method" in span.attributes}
    assert set(calls) == {"S3.PutObject", "DynamoDB.TransactWriteItems"}
    [request] = [span for span in found if span.kind == SERVER]
    [store] = [span for span in found if span.name == "store"]
    assert store.parent == request.id
    assert all(call.parent == request.id for call in calls.values())
    for secret in (MARKER, KEY, hashlib.sha256(KEY.encode()).hexdigest()):
        assert secret not in repr(found)
    [access] = [
        line for line in function.lines() if line.get("request_id") == "stored" and "level" in line
    ]
    assert access["stored"] is True
    assert access["store_ms"] > 0


def test_a_refused_request_is_an_error_of_its_trace(
    function: StreamingFunction, daemon: Daemon
) -> None:
    daemon.take()

    function.chat("refused", sampled(), temperature=99)

    [request] = daemon.take()
    assert request.attributes["http.response.status_code"] == 400
    assert request.attributes["error.type"]
    assert request.status != ERROR  # it is the caller's


def test_traces_of_requests_at_the_same_time_do_not_mix(
    function: StreamingFunction, daemon: Daemon
) -> None:
    daemon.take()
    parents = [f"{number:016x}" for number in range(1, 9)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda parent: function.chat(parent, sampled(parent)), parents))

    found = daemon.take()
    requests = {span.parent: span for span in found if span.kind == SERVER}
    assert set(requests) == set(parents)
    for request in requests.values():
        [whole] = [span for span in found if span.parent == request.id]
        of_it = [span.name for span in found if span.parent == whole.id]
        assert sorted(of_it) == ["decode", "prefill", "queue"]


def test_the_first_trace_of_an_environment_shows_its_models_load(
    daemon: Daemon, tmp_path: Path
) -> None:
    environ = {"AWS_XRAY_DAEMON_ADDRESS": daemon.address}
    daemon.take()
    function = StreamingFunction(tmp_path / "streaming.log", environ)
    try:
        function.chat("first", sampled())
        function.chat("second", sampled())
    finally:
        function.stop()

    found = daemon.take()
    requests = [span for span in found if span.kind == SERVER]
    assert [span.attributes["faas.coldstart"] for span in requests] == [True, False]
    [load] = [span for span in found if span.name == "model load"]
    assert load.parent == requests[0].id
    assert 0 < load.end - load.start < START_SECONDS


def test_an_endpoint_gets_the_spans_before_the_answer_ends(daemon: Daemon, tmp_path: Path) -> None:
    """And X-Ray gets none: whether it samples a request does not count."""
    daemon.take()
    with receiver() as traces:
        environ = {
            "AWS_XRAY_DAEMON_ADDRESS": daemon.address,
            "OTEL_EXPORTER_OTLP_ENDPOINT": traces.url,
            "OTEL_BSP_SCHEDULE_DELAY": "3600000",  # an hour: only whoever answers sends
        }
        function = StreamingFunction(tmp_path / "streaming.log", environ)
        try:
            streamed = function.chat("first", stream=True)
            after_one = named(traces.take())
            function.chat("second")
            after_two = named(traces.take())
        finally:
            function.stop()

    assert streamed.text.endswith("data: [DONE]\n\n")
    assert after_one.keys() == after_two.keys() | {"model load"}
    request = after_one[f"POST {CHAT}"]
    assert request.attributes["faas.invocation_id"] == "first"
    assert request.resource["faas.name"] == "inference"
    assert daemon.take() == []


def test_an_answer_is_not_lost_with_its_spans(tmp_path: Path) -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}  # nobody listens there
    function = StreamingFunction(tmp_path / "streaming.log", environ)
    try:
        answer = function.chat("lost")
    finally:
        function.stop()

    assert answer.json()["choices"]


def test_tracing_can_be_switched_off(daemon: Daemon, tmp_path: Path) -> None:
    environ = {
        "AWS_XRAY_DAEMON_ADDRESS": daemon.address,
        "OTEL_TRACES_EXPORTER": "none",
    }
    daemon.take()
    function = StreamingFunction(tmp_path / "streaming.log", environ)
    try:
        status = function.chat("first", sampled()).status_code
    finally:
        function.stop()

    assert status == 200
    assert daemon.take() == []


@pytest.mark.parametrize("trace", [None, "", f"Root={ROOT};Parent={PARENT};Sampled=0"])
def test_what_is_not_sampled_is_not_traced(
    function: StreamingFunction, daemon: Daemon, trace: str | None
) -> None:
    daemon.take()

    function.chat("unsampled", trace, store=True)

    assert daemon.take() == []


def test_nothing_that_callers_say_is_logged(function: StreamingFunction) -> None:
    function.chat("said", messages=user(MARKER), store=True, metadata={MARKER: MARKER}, stream=True)

    assert MARKER not in function.text()


def test_a_store_that_fails_is_counted(tmp_path: Path) -> None:
    environ = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",  # nobody listens there
        "AWS_MAX_ATTEMPTS": "1",
        "PILOTLIGHT_STORE": "dynamodb:missing,missing",
        "PILOTLIGHT_DEADLINE_MARGIN": "59",  # one of 60 seconds is left
    }
    function = StreamingFunction(tmp_path / "streaming.log", environ)
    try:
        response = function.chat("lost", store=True)
        lines = [line for line in function.lines() if line.get("function_request_id") == "lost"]
    finally:
        function.stop()

    assert response.headers["x-stored"] == "false"
    [metrics] = [line for line in lines if "_aws" in line]
    assert metrics["StoreFailures"] == [1]
    [error] = [line for line in lines if line.get("level") == "ERROR"]
    assert error["logger"] == "pilotlight.store"
    assert error["request_id"] == "lost"
