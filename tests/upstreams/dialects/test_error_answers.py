"""Answers of Anthropic's and Bedrock's that are errors."""

from __future__ import annotations

import json

from shared.upstreams.errors import UpstreamError, refusal
from tests.upstreams.dialects.translation import upstream_of


def anthropic(status: int, kind: str, message: str) -> UpstreamError:
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
    return refusal(upstream_of("anthropic"), status, {}, json.dumps(body).encode())


def bedrock(status: int, kind: str, message: str) -> UpstreamError:
    headers = {"x-amzn-errortype": f"{kind}:http://internal.amazon.com/coral/com.amazon.bedrock/"}
    body = json.dumps({"message": message}).encode()
    return refusal(upstream_of("bedrock"), status, headers, body)


def test_errors_keep_their_status_and_kind() -> None:
    for error in (
        anthropic(529, "overloaded_error", "Overloaded"),
        bedrock(529, "overloaded_error", "Overloaded"),
    ):
        assert (error.status, error.message) == (529, "Overloaded")
        said = {"type": "overloaded_error", "message": "Overloaded"}
        assert error.envelope()["error"]["upstream"] == {"status": 529, "error": said}


def test_what_aws_says_of_accounts_and_roles_stays_here() -> None:
    message = "User: arn:aws:sts::123456789012:assumed-role/api/x is not authorized to perform"
    error = bedrock(403, "AccessDeniedException", message)
    assert (error.status, error.code) == (403, "upstream_authentication_failed")
    assert b"123456789012" not in error.body()


def test_a_key_that_anthropic_refuses_is_not_the_callers() -> None:
    error = anthropic(401, "authentication_error", "invalid x-api-key")
    assert (error.status, error.code) == (401, "upstream_authentication_failed")
