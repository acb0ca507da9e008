"""What the buffered handler's function writes: JSON lines, metrics, and never any text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.aws_lambda import emf
from tests.aws_lambda.events import http_api_event
from tests.aws_lambda.function import API, INFERENCE, Function
from tests.aws_lambda.runtime_api import RuntimeApi
from tests.server import CAPITAL, user

pytestmark = pytest.mark.usefixtures("processes")

MARKER = "Xylophagous"
CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"


class Log:
    """The lines that a function writes while it answers one event after the other."""

    def __init__(self, function: Function) -> None:
        self.function = function

    def of(self, event: Mapping[str, Any]) -> tuple[Any, list[dict[str, Any]]]:
        """The response to ``event``, and the lines that were there when it had come."""
        before = len(self.function.log_text())
        response = self.function.request(event)
        return response, [
            json.loads(line) for line in self.function.log_text()[before:].splitlines()
        ]

    def access(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The access line of ``event``."""
        _, lines = self.of(event)
        [line] = [line for line in lines if line.get("logger") == "pilotlight.access"]
        return line

    def metrics(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The metrics of ``event``, as they are in the log."""
        _, lines = self.of(event)
        [line] = [line for line in lines if "_aws" in line]
        return line


def chat(**fields: Any) -> dict[str, Any]:
    """An event for a chat completion."""
    return http_api_event("POST", CHAT, {"messages": CAPITAL, **fields})


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    with RuntimeApi().serving() as api:
        path = tmp_path_factory.mktemp("telemetry") / "inference.log"
        function = Function(path, INFERENCE, {"PILOTLIGHT_ALIAS": "lamp"}, api=api)
        yield Log(function)
        function.stop()


@pytest.fixture
def api_log(tmp_path: Path) -> Iterator[Log]:
    with RuntimeApi().serving() as api:
        environ = {"AWS_LAMBDA_INITIALIZATION_TYPE": "provisioned-concurrency"}
        function = Function(tmp_path / "api.log", API, environ, api=api)
        yield Log(function)
        function.stop()


def test_the_access_line_has_the_fields_of_the_request(log: Log) -> None:
    response, lines = log.of(chat())

    [line] = [line for line in lines if line.get("logger") == "pilotlight.access"]
    usage = response.json()["usage"]
    assert line["level"] == "INFO"
    assert line["service"] == "inference"
    assert line["function_name"] == "inference"
    assert line["function_memory_size"] == 4096
    assert (line["method"], line["path"], line["status"]) == ("POST", CHAT, 200)
    assert line["model"] == "lamp"
    assert line["prompt_tokens"] == usage["prompt_tokens"]
    assert line["completion_tokens"] == usage["completion_tokens"]
    assert 0 < line["time_to_first_token_ms"] <= line["duration_ms"]
    assert line["xray_trace_id"].startswith("1-")


def test_each_line_says_which_invocation_it_belongs_to(log: Log) -> None:
    response, lines = log.of(chat())

    assert len(lines) == 2
    invocation = response.headers["x-request-id"]
    assert {line["function_request_id"] for line in lines} == {invocation}
    assert {line["request_id"] for line in lines} == {invocation}


def test_a_callers_own_id_is_kept_beside_lambdas(log: Log) -> None:
    event = http_api_event("POST", CHAT, {"messages": CAPITAL}, headers={"x-request-id": "mine"})

    line = log.access(event)

    assert line["request_id"] == "mine"
    assert line["function_request_id"] != "mine"


def test_an_id_that_is_none_is_replaced_by_lambdas(log: Log) -> None:
    event = http_api_event("POST", CHAT, {"messages": CAPITAL}, headers={"x-request-id": "a b"})

    line = log.access(event)

    assert line["request_id"] == line["function_request_id"]


def test_a_refused_request_names_the_errors_code(log: Log) -> None:
    line = log.access(chat(model="no-such-model"))

    assert line["status"] == 404
    assert line["error_code"] == "model_not_found"
    assert "completion_tokens" not in line


def test_metrics_keep_the_rules_of_their_format(log: Log) -> None:
    events = [chat(), chat(stream=True), chat(temperature=9), http_api_event("GET", "/v1/models")]

    for event in events:
        metrics = log.metrics(event)
        assert list(emf.problems(json.dumps(metrics))) == []
        [directive] = metrics["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == "pilotlight"
        assert directive["Dimensions"] == [["service"]]
        assert metrics["service"] == "inference"


def test_metrics_count_what_the_usage_says(log: Log) -> None:
    response, lines = log.of(chat(n=2, temperature=0))

    [metrics] = [line for line in lines if "_aws" in line]
    usage = response.json()["usage"]
    assert metrics["Requests"] == [1]
    assert metrics["Errors"] == metrics["Throttled"] == [0]
    assert metrics["PromptTokens"] == [usage["prompt_tokens"]]
    assert metrics["CachedTokens"] == [usage["prompt_tokens_details"]["cached_tokens"]]
    assert metrics["CompletionTokens"] == [usage["completion_tokens"]]
    assert 0 < metrics["TimeToFirstToken"][0] <= metrics["Latency"][0]
    assert metrics["QueueTime"][0] <= metrics["TimeToFirstToken"][0]
    assert metrics["TokensPerSecond"][0] > 0
    assert metrics["DeadlineReached"] == [0]
    assert "StoreFailures" not in metrics


def test_a_request_without_tokens_has_no_metrics_of_them(log: Log) -> None:
    metrics = log.metrics(http_api_event("GET", "/v1/models"))

    names = {metric["Name"] for metric in metrics["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert names == {"Requests", "Errors", "Throttled", "Latency", "ColdStart"}


def test_the_first_invocation_of_an_environment_is_its_cold_start(tmp_path: Path) -> None:
    with RuntimeApi().serving() as api:
        function = Function(tmp_path / "api.log", API, api=api)
        log = Log(function)

        first, second = [log.metrics(http_api_event("GET", "/v1/models")) for _ in range(2)]
        function.stop()

    assert (first["ColdStart"], second["ColdStart"]) == ([1], [0])
    assert first["initialization_type"] == "on-demand"


def test_every_restored_copy_has_a_cold_start_of_its_own(tmp_path: Path) -> None:
    with RuntimeApi().serving() as api:
        api.may_restore.set()
        environ = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
        function = Function(tmp_path / "api.log", API, environ, api=api)

        metrics = Log(function).metrics(http_api_event("GET", "/v1/models"))
        function.stop()

    assert metrics["ColdStart"] == [1]
    assert metrics["initialization_type"] == "snap-start"


def test_provisioned_environments_have_no_cold_start(api_log: Log) -> None:
    metrics = api_log.metrics(http_api_event("GET", "/v1/models"))

    assert metrics["ColdStart"] == [0]
    assert metrics["service"] == "api"


def test_metrics_pass_a_filter_of_levels(tmp_path: Path) -> None:
    environ = {
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_LAMBDA_LOG_LEVEL": "ERROR",
        "PILOTLIGHT_LOG_LEVEL": "error",
    }
    with RuntimeApi().serving() as api:
        function = Function(tmp_path / "api.log", API, environ, api=api)

        _, lines = Log(function).of(http_api_event("GET", "/v1/models"))
        function.stop()

    [metrics] = lines
    assert metrics["level"] == "ERROR"
    assert metrics["timestamp"].endswith("+00:00")
    assert list(emf.problems(json.dumps(metrics))) == []


def test_nothing_that_callers_or_the_model_say_is_logged(log: Log) -> None:
    tool = {
        "type": "function",
        "function": {
            "name": MARKER,
            "description": MARKER,
            "parameters": {"type": "object", "properties": {MARKER: {"type": "string"}}},
        },
    }
    schema = {"type": "json_schema", "json_schema": {"name": MARKER, "schema": {"type": MARKER}}}
    bodies: list[Any] = [
        {"messages": user(f"{MARKER}. What is the capital of France?")},
        {"messages": user(MARKER), "stream": True, "user": MARKER, "stop": [MARKER]},
        {"messages": CAPITAL, "metadata": {MARKER: MARKER}, "max_tokens": 1},
        {"messages": user(MARKER), "tools": [tool], "tool_choice": "required", "max_tokens": 5},
        {"messages": user(MARKER), "tools": [tool | {"type": MARKER}]},
        {"messages": CAPITAL, "response_format": schema},
        {"messages": CAPITAL, "regex": f"({MARKER}"},
        {"messages": CAPITAL, "grammar": MARKER},
        {"messages": CAPITAL, MARKER: MARKER},
        {"messages": CAPITAL, "model": MARKER},
        {"messages": [{"role": MARKER, "content": MARKER}]},
        {"messages": [{"role": "tool", "content": MARKER, "tool_call_id": MARKER}]},
        {"messages": MARKER},
        {"messages": CAPITAL, "chat_template_kwargs": {MARKER: MARKER}},
        f'{{"messages": "{MARKER}',
        f'{{"messages": "{MARKER}\\ud800"}}',
        f'"{MARKER}"',
    ]
    events = [http_api_event("POST", CHAT, body) for body in bodies]
    events += [http_api_event("POST", TEXT, {"prompt": f"{MARKER} ", "echo": True})]
    events += [http_api_event("POST", CHAT, b"\xff" + MARKER.encode(), is_base64=True)]
    events += [http_api_event("POST", CHAT, {"messages": CAPITAL}, key=MARKER)]
    events += [http_api_event("GET", CHAT, query=f"{MARKER}={MARKER}")]
    events += [http_api_event("GET", "/v1/models", headers={"x-request-id": f"{MARKER} "})]

    answers = [log.function.request(event).text for event in events]

    assert any("Paris" in answer for answer in answers)
    written = log.function.log_text()
    assert MARKER.lower() not in written.lower()
    assert "Paris" not in written
    assert written.count('"logger":"pilotlight.access"') >= len(events)


def test_every_line_is_json_and_none_is_printed_twice(log: Log) -> None:
    log.function.request(chat())

    lines = log.function.log_text().splitlines()

    records = [json.loads(line) for line in lines]
    assert len(set(lines)) == len(lines)
    assert sum("model lamp ready" in str(record.get("message")) for record in records) == 1
