"""What AWS Lambda says of the time that is left."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest
from awslambdaric.lambda_context import LambdaContext
from starlette.types import Scope

from functions.aws_lambda.time_limit import adapter_remaining, event_remaining

CONTEXT = b"x-amzn-lambda-context"


def http_scope(*headers: tuple[bytes, bytes], **entries: Any) -> Scope:
    """A request's scope."""
    return {"type": "http", "path": "/", "headers": list(headers), **entries}


def test_an_invocations_context_tells_what_is_left() -> None:
    context = LambdaContext("id", None, None, int((time.time() + 12) * 1000))

    left = event_remaining(http_scope(**{"aws.context": context}))

    assert left == pytest.approx(12, abs=1)


def test_outside_of_an_invocation_nothing_is_known() -> None:
    assert event_remaining(http_scope()) is None
    assert adapter_remaining(http_scope()) is None


def test_the_adapters_header_tells_when_the_invocation_ends() -> None:
    deadline = int((time.time() + 12) * 1000)
    value = b'{"request_id": "id", "deadline": %d, "env_config": {"memory": 2048}}' % deadline

    left = adapter_remaining(http_scope((b"host", b"x"), (CONTEXT, value)))

    assert left == pytest.approx(12, abs=1)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"soon",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b'{"deadline": null}',
        b'{"deadline": "soon"}',
        b'{"deadline": 0}',
        b'{"deadline": -5}',
        b'{"deadline": NaN}',
        b'{"deadline": 1e400}',
        b'{"deadline": 1' + b"0" * 5000 + b"}",
        b"[" * 100_000,
    ],
)
def test_a_header_that_is_no_context_is_no_deadline_but_a_warning(
    value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "pilotlight.deadline"):
        left = adapter_remaining(http_scope((CONTEXT, value)))

    assert left is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert len(record.getMessage()) < 300


def test_the_header_means_nothing_to_the_buffered_function() -> None:
    assert event_remaining(http_scope((CONTEXT, b'{"deadline": 1}'))) is None
