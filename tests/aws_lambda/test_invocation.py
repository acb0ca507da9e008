"""Which requests are invocations, and what is known of them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from functions.aws_lambda.invocation import Invocations

TRACE = "Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=1"


@pytest.fixture(autouse=True)
def on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_LAMBDA_INITIALIZATION_TYPE", raising=False)
    monkeypatch.delenv("_X_AMZN_TRACE_ID", raising=False)


def behind_the_adapter(**context: Any) -> dict[str, Any]:
    facts = {"request_id": "lambda-1", "deadline": 1, **context}
    return {"headers": [(b"x-amzn-lambda-context", json.dumps(facts).encode())]}


def of_an_event(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    context = SimpleNamespace(aws_request_id="lambda-2")
    return {"aws.context": context, "headers": [*headers]}


def test_the_adapters_context_names_the_invocation() -> None:
    found = Invocations().begin(behind_the_adapter(xray_trace_id=TRACE))

    assert found is not None
    assert (found.request_id, found.trace) == ("lambda-1", TRACE)


def test_without_a_trace_in_the_context_the_header_has_it() -> None:
    scope = behind_the_adapter(xray_trace_id=None)
    scope["headers"].append((b"x-amzn-trace-id", TRACE.encode()))

    found = Invocations().begin(scope)

    assert found is not None
    assert found.trace == TRACE


def test_an_events_trace_is_the_runtimes_not_the_gateways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", TRACE)

    found = Invocations().begin(of_an_event((b"x-amzn-trace-id", b"Root=of-the-gateway")))

    assert found is not None
    assert (found.request_id, found.trace) == ("lambda-2", TRACE)


def test_an_event_is_not_taken_for_what_its_caller_claims() -> None:
    forged = behind_the_adapter(request_id="forged")["headers"]

    found = Invocations().begin(of_an_event(*forged))

    assert found is not None
    assert found.request_id == "lambda-2"


def test_the_adapters_own_calls_are_no_invocations_and_no_cold_starts() -> None:
    invocations = Invocations()

    assert invocations.begin({"headers": [(b"host", b"127.0.0.1")]}) is None
    first = invocations.begin(of_an_event())
    second = invocations.begin(of_an_event())

    assert first is not None
    assert second is not None
    assert (first.is_cold_start, second.is_cold_start) == (True, False)
