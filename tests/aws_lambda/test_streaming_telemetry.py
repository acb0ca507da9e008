"""What the streaming handler tells: many requests at once in one process, and traces over UDP."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.aws_lambda import emf
from tests.aws_lambda.events import KEY
from tests.aws_lambda.function import TASK_ROOT, environment
from tests.server import CAPITAL, START_SECONDS, STOP_SECONDS, user, wait_until
from tests.storage.dynamodb.aws import Aws
from tests.storage.dynamodb.moto_server import ENVIRONMENT, moto_server

pytestmark = pytest.mark.usefixtures("processes")

MARKER = "Xylophagous"
CHAT = "/v1/chat/completions"
ROOT = "1-67891233-abcdef012345678912345678"
PARENT = "53995c3f42cd8ad8"


class StreamingFunction:
    """The start script's process, called as the Lambda Web Adapter does."""

    def __init__(self, log: Path, environ: Mapping[str, str]) -> None:
        self._log = log
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                ["sh", str(TASK_ROOT / "functions" / "aws_lambda" / "run.sh")],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment({"AWS_LWA_PORT": str(port), **environ}),
            )
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


class Daemon:
    """What Lambda runs beside a function to take its traces: UDP, a header line, JSON."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self._socket.getsockname())

    def received(self) -> list[dict[str, Any]]:
        """The subsegments that have come by now."""
        self._socket.setblocking(False)
        found: list[dict[str, Any]] = []
        while True:
            try:
                header, _, document = self._socket.recvfrom(65536)[0].partition(b"\n")
            except BlockingIOError:
                return found
            assert json.loads(header) == {"format": "json", "version": 1}
            found.append(json.loads(document))

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    daemon = Daemon()
    yield daemon
    daemon.close()


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
        assert metrics["service"] == access["service"] == "streaming"
        assert metrics["CompletionTokens"] == [access["completion_tokens"]]


def test_what_is_no_invocation_is_neither_counted_nor_logged(function: StreamingFunction) -> None:
    assert not [line for line in function.lines() if line.get("path") == "/health"]


def test_a_traced_request_shows_where_its_time_went(
    function: StreamingFunction, daemon: Daemon
) -> None:
    began = time.time()
    daemon.received()

    messages = user(f"{MARKER}. What is the capital of France?")
    response = function.chat("traced", sampled(), messages=messages)

    found = {part["name"]: part for part in daemon.received()}
    assert set(found) == {"queue", "prefill", "decode", "request"}
    request = found["request"]
    assert request["trace_id"] == ROOT
    assert request["parent_id"] == PARENT
    assert request["type"] == "subsegment"
    assert request["annotations"] | {"cold_start": None} == {
        "path": CHAT,
        "status": 200,
        "service": "streaming",
        "model": "pilotlight-builtin",
        "cold_start": None,
    }
    usage = response.json()["usage"]
    assert request["metadata"]["streaming"]["prompt_tokens"] == usage["prompt_tokens"]
    parts = [found[name] for name in ("queue", "prefill", "decode")]
    assert all(part["parent_id"] == request["id"] for part in parts)
    moments = [began, request["start_time"], *[part["start_time"] for part in parts]]
    assert moments == sorted(moments)
    assert parts[0]["end_time"] == pytest.approx(parts[1]["start_time"], abs=1e-3)
    assert parts[-1]["end_time"] <= request["end_time"] <= time.time()
    assert MARKER not in json.dumps(found)
    assert "Paris" not in json.dumps(found)


def test_storing_is_traced_down_to_the_calls_of_aws(
    function: StreamingFunction, daemon: Daemon
) -> None:
    daemon.received()

    response = function.chat("stored", sampled(), store=True, metadata={"kind": MARKER})

    assert response.headers["x-stored"] == "true"
    found = daemon.received()
    calls = {part["aws"]["operation"]: part for part in found if part.get("namespace") == "aws"}
    assert set(calls) == {"PutObject", "TransactWriteItems"}
    [request] = [part for part in found if part["name"] == "request"]
    [store] = [part for part in found if part["name"] == "store"]
    assert store["parent_id"] == request["id"]
    assert all(call["parent_id"] == request["id"] for call in calls.values())
    assert MARKER not in json.dumps(found)
    [access] = [
        line for line in function.lines() if line.get("request_id") == "stored" and "level" in line
    ]
    assert access["stored"] is True
    assert access["store_ms"] > 0


def test_a_refused_request_is_an_error_of_its_trace(
    function: StreamingFunction, daemon: Daemon
) -> None:
    daemon.received()

    function.chat("refused", sampled(), temperature=99)

    [request] = daemon.received()
    assert request["error"] is True
    assert request["annotations"]["status"] == 400
    assert "error_code" in request["annotations"]


def test_traces_of_requests_at_the_same_time_do_not_mix(
    function: StreamingFunction, daemon: Daemon
) -> None:
    daemon.received()
    parents = [f"{number:016x}" for number in range(1, 9)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda parent: function.chat(parent, sampled(parent)), parents))

    found = daemon.received()
    requests = {part["parent_id"]: part for part in found if part["name"] == "request"}
    assert set(requests) == set(parents)
    for request in requests.values():
        of_it = [part["name"] for part in found if part["parent_id"] == request["id"]]
        assert sorted(of_it) == ["decode", "prefill", "queue"]


def test_the_first_trace_of_an_environment_shows_its_models_load(
    daemon: Daemon, tmp_path: Path
) -> None:
    environ = {"AWS_XRAY_DAEMON_ADDRESS": daemon.address}
    daemon.received()
    function = StreamingFunction(tmp_path / "streaming.log", environ)
    try:
        function.chat("first", sampled())
        function.chat("second", sampled())
    finally:
        function.stop()

    found = daemon.received()
    requests = [part for part in found if part["name"] == "request"]
    assert [part["annotations"]["cold_start"] for part in requests] == [True, False]
    [load] = [part for part in found if part["name"] == "model load"]
    assert load["parent_id"] == requests[0]["id"]
    assert 0 < load["end_time"] - load["start_time"] < START_SECONDS


def test_tracing_can_be_switched_off(daemon: Daemon, tmp_path: Path) -> None:
    environ = {
        "AWS_XRAY_DAEMON_ADDRESS": daemon.address,
        "POWERTOOLS_TRACE_DISABLED": "true",
    }
    daemon.received()
    function = StreamingFunction(tmp_path / "streaming.log", environ)
    try:
        status = function.chat("first", sampled()).status_code
    finally:
        function.stop()

    assert status == 200
    assert daemon.received() == []


@pytest.mark.parametrize("trace", [None, "", f"Root={ROOT};Parent={PARENT};Sampled=0"])
def test_what_is_not_sampled_is_not_traced(
    function: StreamingFunction, daemon: Daemon, trace: str | None
) -> None:
    daemon.received()

    function.chat("unsampled", trace, store=True)

    assert daemon.received() == []


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
