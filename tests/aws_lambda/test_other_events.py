"""Events that are no HTTP requests: anybody who may invoke a function can send it any JSON."""

from __future__ import annotations

from typing import Any

import pytest

from tests.aws_lambda.events import http_api_event
from tests.aws_lambda.function import Function

SCHEDULED = {
    "version": "0",
    "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": "123456789012",
    "region": "us-east-1",
    "resources": ["arn:aws:events:us-east-1:123456789012:rule/warm"],
    "detail": {},
}
DESTINATION = {"version": "1.0", "requestContext": {"condition": "Success"}, "requestPayload": {}}
WEB_SOCKET = {"requestContext": {"routeKey": "$connect", "eventType": "CONNECT"}}


@pytest.fixture(params=["inference", "api_function"])
def function(processes: None, request: pytest.FixtureRequest) -> Function:
    """Both functions with a buffered handler."""
    function: Function = request.getfixturevalue(request.param)
    return function


@pytest.mark.parametrize(
    "event",
    [
        {"key1": "value1", "key2": "value2"},
        SCHEDULED,
        DESTINATION,
        WEB_SOCKET,
        {"Records": [{"eventSource": "aws:sqs", "body": "a secret"}]},
        {},
        None,
        "warm",
        ["a", 1],
    ],
    ids=[
        "the console's test",
        "a schedule",
        "a destination",
        "a web socket",
        "a queue",
        "nothing",
        "null",
        "text",
        "a list",
    ],
)
def test_they_fail_and_say_what_to_send(function: Function, event: Any) -> None:
    invocation = function.api.invoke(event)
    assert invocation.response is None
    assert invocation.error["errorType"] == "UnsupportedEventError"
    assert "answers HTTP requests only" in invocation.error["errorMessage"]
    assert "GET /health" in invocation.error["errorMessage"]
    assert "a secret" not in function.log_text()


def test_they_do_no_harm_to_the_next_request(function: Function) -> None:
    function.api.invoke({})
    assert function.request(http_api_event("GET", "/health", key=None)).status == 200


def test_a_request_of_the_least_that_counts_as_one_is_answered(function: Function) -> None:
    event = {
        "version": "2.0",
        "requestContext": {"http": {"method": "GET", "path": "/health", "sourceIp": "127.0.0.1"}},
    }
    assert function.request(event).status == 200


def test_load_balancers_requests_are_answered(function: Function) -> None:
    target_group = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/t/0123456789ab"
    event = {
        "requestContext": {"elb": {"targetGroupArn": target_group}},
        "httpMethod": "GET",
        "path": "/health",
        "queryStringParameters": {},
        "headers": {"host": "lb.example.org", "x-forwarded-for": "203.0.113.7"},
        "body": "",
        "isBase64Encoded": False,
    }
    assert function.request(event).status == 200
