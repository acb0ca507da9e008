"""What platforms say of the time they leave, and what the app is told of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from awslambdaric.lambda_context import LambdaContext
from starlette.types import Receive, Scope, Send

from shared.completion.deadline import (
    DeadlineMiddleware,
    end_of_generation,
    end_of_storing,
    lambda_adapter_remaining,
    lambda_event_remaining,
)

CONTEXT = b"x-amzn-lambda-context"


def http_scope(*headers: tuple[bytes, bytes], **entries: Any) -> Scope:
    """A request's scope."""
    return {"type": "http", "path": "/", "headers": list(headers), **entries}


async def seen_by_the_app(
    scope: Scope, remaining: Callable[[Scope], float | None], margin: float
) -> Scope:
    """The scope that reaches the app behind the middleware."""
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    async def never(*_: Any) -> Any:
        raise AssertionError

    await DeadlineMiddleware(app, remaining, margin)(scope, never, never)
    return seen[0]


@pytest.mark.anyio
async def test_the_margin_is_kept_for_storing_and_for_the_response() -> None:
    before = time.monotonic()
    scope = await seen_by_the_app(http_scope(), lambda _: 30.0, 2.0)
    after = time.monotonic()

    generation, storing = end_of_generation(scope), end_of_storing(scope)
    assert generation is not None
    assert storing is not None
    assert before + 28.0 <= generation <= after + 28.0
    assert storing - generation == pytest.approx(1.7)


@pytest.mark.anyio
async def test_of_a_small_margin_storing_gets_half() -> None:
    scope = await seen_by_the_app(http_scope(), lambda _: 30.0, 0.2)

    generation, storing = end_of_generation(scope), end_of_storing(scope)
    assert generation is not None
    assert storing is not None
    assert storing - generation == pytest.approx(0.1)


@pytest.mark.anyio
async def test_less_time_than_the_margin_is_a_deadline_in_the_past() -> None:
    scope = await seen_by_the_app(http_scope(), lambda _: 1.5, 2.0)

    generation = end_of_generation(scope)
    assert generation is not None
    assert generation < time.monotonic()


@pytest.mark.anyio
async def test_without_a_limit_there_is_no_deadline() -> None:
    scope = await seen_by_the_app(http_scope(), lambda _: None, 2.0)

    assert (end_of_generation(scope), end_of_storing(scope)) == (None, None)


@pytest.mark.anyio
async def test_startup_and_shutdown_have_no_deadline() -> None:
    scope = await seen_by_the_app({"type": "lifespan"}, lambda _: 30.0, 2.0)

    assert scope == {"type": "lifespan"}


def test_an_invocations_context_tells_what_is_left() -> None:
    context = LambdaContext("id", None, None, int((time.time() + 12) * 1000))

    left = lambda_event_remaining(http_scope(**{"aws.context": context}))

    assert left == pytest.approx(12, abs=1)


def test_outside_of_an_invocation_nothing_is_known() -> None:
    assert lambda_event_remaining(http_scope()) is None
    assert lambda_adapter_remaining(http_scope()) is None


def test_the_adapters_header_tells_when_the_invocation_ends() -> None:
    deadline = int((time.time() + 12) * 1000)
    value = b'{"request_id": "id", "deadline": %d, "env_config": {"memory": 2048}}' % deadline

    left = lambda_adapter_remaining(http_scope((b"host", b"x"), (CONTEXT, value)))

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
        left = lambda_adapter_remaining(http_scope((CONTEXT, value)))

    assert left is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert len(record.getMessage()) < 300


def test_the_header_means_nothing_to_the_other_door() -> None:
    assert lambda_event_remaining(http_scope((CONTEXT, b'{"deadline": 1}'))) is None
