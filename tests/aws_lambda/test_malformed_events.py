"""Events and headers that no gateway sends: an answer or an error that says what is wrong."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from functions.aws_lambda.buffered_handler import BufferedHandler, UnsupportedEventError
from functions.aws_lambda.invocation import Invocations
from functions.aws_lambda.telemetry import Telemetry
from functions.aws_lambda.time_limit import adapter_remaining, event_remaining
from functions.http.api_app import create_api_app
from shared.config.settings import Settings
from shared.runtime.deadline import TimeLimit
from tests.aws_lambda.events import http_api_event

VALUES: list[Any] = [
    *(None, True, 0, -1, 1.5, "", "x", "\ud800", "\x00", "é", [], ["x"], [None], {}, {"x": None}),
    *({"x": 1}, {"\ud800": "x"}, {"host": "a:b:c"}, {"host": "[::1]:80"}, {"host": ":"}),
    *({"x-forwarded-port": "x"}, {"x-forwarded-proto": "x"}, {"x": ["y"]}, 10**400),
]
REST = {
    "version": "1.0",
    "resource": "/health",
    "path": "/health",
    "httpMethod": "GET",
    "headers": {"host": "x"},
    "multiValueHeaders": {"host": ["x"]},
    "queryStringParameters": {"a": "b"},
    "multiValueQueryStringParameters": {"a": ["b"]},
    "requestContext": {"identity": {"sourceIp": "127.0.0.1"}},
    "body": None,
    "isBase64Encoded": False,
}
LOAD_BALANCER = {
    "requestContext": {"elb": {"targetGroupArn": "x"}},
    "httpMethod": "GET",
    "path": "/health",
    "queryStringParameters": {"a": "b"},
    "headers": {"host": "x", "x-forwarded-for": "203.0.113.7"},
    "body": "",
    "isBase64Encoded": False,
}
EVENTS = {
    "HTTP API": http_api_event("POST", "/v1/chat/completions/x", {"metadata": {}}, query="a=b"),
    "base64": http_api_event("GET", "/v1/models", b"x", is_base64=True, cookies=["a=b"]),
    "REST API": REST,
    "load balancer": LOAD_BALANCER,
}


@pytest.fixture(scope="module")
def handler() -> BufferedHandler:
    """The handler of the function without a model, as it is on Lambda."""
    settings = Settings(store="none")
    app = create_api_app(settings)
    app.state.server.time_limit = TimeLimit(event_remaining, 2)
    return BufferedHandler(Telemetry(app, app.state.server, "api"))


def context() -> Any:
    """What the runtime client passes on."""
    return SimpleNamespace(aws_request_id="lambda-1", get_remaining_time_in_millis=lambda: 10_000)


def variants(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """``event`` with each of its fields, inner ones too, removed or replaced."""

    def places(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield (*path, key)
                yield from places(inner, (*path, key))

    for *outer, last in places(event):
        for value in [..., *VALUES]:
            changed = copy.deepcopy(event)
            place = changed
            for key in outer:
                place = place[key]
            place[last] = value
            if value is ...:
                del place[last]
            yield changed


@pytest.mark.slow
@pytest.mark.sweep(2)
@pytest.mark.parametrize("kind", EVENTS)
def test_every_event_is_answered_or_refused_with_words(
    handler: BufferedHandler, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    n_refused = 0
    for event in variants(EVENTS[kind]):
        try:
            response = handler(event, context())
        except UnsupportedEventError:
            continue
        assert 200 <= response["statusCode"] < 500, event
        if response["statusCode"] == 400:
            error = json.loads(response["body"])["error"]
            assert set(error) == {"message", "type", "param", "code"}
            n_refused += error["code"] == "malformed_event"
        json.dumps(response, ensure_ascii=False).encode()
    assert n_refused
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    "event",
    [
        {"httpMethod": "GET", "path": "/health", "requestContext": {}},
        {"Records": [1], "requestContext": {}, "httpMethod": "GET", "path": "/"},
        {"Records": 1, "requestContext": {}, "httpMethod": "GET", "path": "/"},
        {"version": "2.0", "requestContext": {"http": None}},
    ],
)
def test_what_is_like_no_gateways_event_is_refused(handler: BufferedHandler, event: Any) -> None:
    with pytest.raises(UnsupportedEventError):
        handler(event, context())


TRACE = "Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=1"
CONTEXTS = [
    *(b"", b"{", b"null", b"[]", b"1", b'"x"', b"{}", b"\xff", b'{"request_id": null}'),
    *(b'{"request_id": 1}', b'{"request_id": {}}', b'{"request_id": "\\ud800"}'),
    *(b'{"request_id": "x", "xray_trace_id": 1}', b'{"request_id": "x", "deadline": "x"}'),
    *(b"[" * 50_000, b'{"request_id": "x", "deadline": 1e400}', b'{"deadline": -1}'),
]


@pytest.mark.parametrize("sent", CONTEXTS)
def test_a_damaged_context_leaves_an_invocation_without_an_id(sent: bytes) -> None:
    scope = {"headers": [(b"x-amzn-lambda-context", sent), (b"x-amzn-trace-id", TRACE.encode())]}

    found = Invocations().begin(scope)

    assert found is not None
    assert found.request_id in ("", "x")
    assert adapter_remaining(scope) is None


@pytest.mark.parametrize(
    ("trace", "is_sampled"),
    [
        (TRACE, True),
        (f"{TRACE};Lineage=a87bd80c:0|68fd508a:5", True),
        (f"Self=1-67891233-abcdef012345678912345679;{TRACE}", True),
        ("Sampled=1", False),
        ("Root=x;Parent=y;Sampled=1", False),
        (TRACE.replace("Parent", "Patent"), False),
        (TRACE.replace("Sampled=1", "Sampled=0"), False),
        (TRACE + "\n", False),
        ("é=1;Sampled=1", False),
        ("", False),
    ],
)
def test_only_what_can_be_a_trace_is_one(trace: str, is_sampled: bool) -> None:
    context = json.dumps({"request_id": "lambda-1", "xray_trace_id": trace}).encode()

    found = Invocations().begin({"headers": [(b"x-amzn-lambda-context", context)]})

    assert found is not None
    assert found.is_sampled == is_sampled
