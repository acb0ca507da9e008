"""Lambda takes responses of 6 MB. Larger ones would become an error that says nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.aws_lambda.buffered_handler import RESPONSE_LIMIT
from shared.runtime.configured_keys import ConfiguredKeys
from tests.aws_lambda.events import KEY, http_api_event
from tests.aws_lambda.function import Function
from tests.storage.completions import sample
from tests.storage.dynamodb.aws import Aws

CHAT = "/v1/chat/completions"
OWNER = ConfiguredKeys([KEY]).owner(KEY.encode())


@pytest.fixture(scope="module")
def query(aws: Aws) -> str:
    """Finds three stored completions, each of them somewhat smaller than half of the limit."""
    assert OWNER is not None
    whole = sample(tenant=OWNER.tenant)
    # Each of these takes four bytes in what the runtime client sends: a backslash and a quote from
    # the response, both of them escaped once more by what the response becomes a part of.
    content = '"' * (RESPONSE_LIMIT // 10)
    choice = {"index": 0, "message": {"role": "assistant", "content": content}}
    response: dict[str, Any] = {**whole.response, "choices": [choice]}
    aws.preload(
        sample(number, tenant=OWNER.tenant, response=response, metadata={"size": "large"})
        for number in range(3)
    )
    return "metadata[size]=large"


@pytest.fixture(params=["inference", "api_function"])
def function(processes: None, request: pytest.FixtureRequest) -> Function:
    """Both functions with a buffered handler."""
    function: Function = request.getfixturevalue(request.param)
    return function


def test_what_fits_is_passed_on_whole(function: Function, query: str) -> None:
    response = function.request(http_api_event("GET", CHAT, query=f"{query}&limit=2"))
    assert response.status == 200
    assert len(json.dumps(response.payload)) > 0.8 * RESPONSE_LIMIT
    assert len(response.json()["data"]) == 2


def test_what_does_not_fit_becomes_an_envelope(function: Function, query: str) -> None:
    response = function.request(http_api_event("GET", CHAT, query=query))
    assert (response.status, response.error["code"]) == (400, "response_too_large")
    assert "Ask for less" in response.error["message"]
    assert response.headers["x-request-id"]
    assert response.headers["content-type"] == "application/json"
    assert int(response.headers["content-length"]) == len(response.text)
    assert "the response is too large" in function.log_text()
