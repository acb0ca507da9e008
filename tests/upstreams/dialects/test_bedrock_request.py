"""Requests to Converse, checked against botocore's model of it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.upstreams.dialects.converse_model import serialized
from tests.upstreams.dialects.request_cases import CALLS, CASES, RESULT, TOOL
from tests.upstreams.dialects.translation import (
    CLAUDE,
    PDF,
    QUESTION,
    body_of,
    dialect_of,
    refusal_of,
)

ARN = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2c3"


@pytest.mark.parametrize(
    "name", [n for n, case in CASES.items() if not isinstance(case.bedrock, str)]
)
def test_requests_are_those_that_boto3_would_send(name: str) -> None:
    fields = {"messages": [QUESTION], **CASES[name].fields}
    request = dialect_of("bedrock").request("chat", fields)
    operation = "ConverseStream" if fields.get("stream") else "Converse"
    path, body = serialized(operation, CLAUDE, orjson.loads(request.body))
    assert request.path == path
    assert orjson.loads(request.body) == body


def test_an_arn_is_one_segment_of_the_path() -> None:
    request = dialect_of("bedrock", model=ARN).request("chat", {"messages": [QUESTION]})
    assert request.path == serialized("Converse", ARN, orjson.loads(request.body))[0]
    assert request.path.count("/") == 3


def test_headers() -> None:
    dialect = dialect_of("bedrock", key="secret")
    whole = dialect.request("chat", {"messages": [QUESTION]})
    assert dict(whole.headers) == {
        b"accept": b"application/json",
        b"authorization": b"Bearer secret",
    }
    streamed = dialect.request("chat", {"messages": [QUESTION], "stream": True})
    assert dict(streamed.headers)[b"accept"] == b"application/vnd.amazon.eventstream"


def body_for(model: str, **fields: Any) -> dict[str, Any]:
    request = dialect_of("bedrock", model=model).request("chat", {"messages": [QUESTION], **fields})
    body: dict[str, Any] = orjson.loads(request.body)
    return body


def test_thinking_is_claudes_alone() -> None:
    assert body_for("us.amazon.nova-pro-v1:0", reasoning_effort="high") == {
        **body_of("bedrock"),
        "outputConfig": {"effort": "high"},
    }
    assert body_of("bedrock", reasoning_effort="none") == {
        **body_of("bedrock"),
        "additionalModelRequestFields": {"thinking": {"type": "disabled"}},
    }
    with pytest.raises(Exception, match="can't be none"):
        body_for("us.amazon.nova-pro-v1:0", reasoning_effort="none")


def test_a_choice_of_no_tool_leaves_out_the_tools() -> None:
    assert body_of("bedrock", tools=[TOOL], tool_choice="none") == body_of("bedrock")
    messages = [QUESTION, CALLS, RESULT]
    error = refusal_of("bedrock", messages=messages, tools=[TOOL], tool_choice="none")
    assert error.param == "tool_choice"


def test_urls_of_images_are_refused() -> None:
    part = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    error = refusal_of("bedrock", messages=[{"role": "user", "content": [part]}])
    assert error.param == "messages[0].content[0].image_url.url"


def test_documents_have_names_of_their_own() -> None:
    part = {"type": "file", "file": {"file_data": PDF}}
    body = body_of("bedrock", messages=[{"role": "user", "content": [part, part]}])
    names = [block["document"]["name"] for block in body["messages"][0]["content"]]
    assert names == ["document 1", "document 2"]


@pytest.mark.parametrize("tier", ["flex", "priority"])
def test_tiers(tier: str) -> None:
    assert body_of("bedrock", service_tier=tier)["serviceTier"] == {"type": tier}
    assert refusal_of("bedrock", service_tier="scale").param == "service_tier"
