"""When generation must end so that its answer leaves before the platform ends the request.

Platforms that limit a request's time (AWS Lambda's timeout) lose an answer that is not done by
then. The server wraps its app in `DeadlineMiddleware` there, with a reader of the seconds that the
platform leaves. Where nobody does, requests have no deadline.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field, ValidationError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_log = logging.getLogger("pilotlight.deadline")

_DEADLINE = "pilotlight.deadline"
_ADAPTER_CONTEXT = b"x-amzn-lambda-context"
_RESPONSE_SECONDS = 0.3
"""What storing leaves of the margin, for the answer's way to the platform."""


@dataclass(frozen=True, slots=True)
class _Deadline:
    """Moments on `time.monotonic`'s clock, in seconds."""

    end_of_generation: float
    end_of_storing: float


class DeadlineMiddleware:
    """Notes in every HTTP request's scope when its generation and its storing have to end."""

    def __init__(
        self, app: ASGIApp, remaining: Callable[[Scope], float | None], margin: float
    ) -> None:
        """``remaining`` gives the seconds that the platform leaves, None for no limit.

        ``margin`` is in seconds. One step of the engine, formatting and storing must fit into it.
        """
        self._app = app
        self._remaining = remaining
        self._margin = margin
        self._response = min(_RESPONSE_SECONDS, margin / 2)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI 3)."""
        if scope["type"] == "http" and (left := self._remaining(scope)) is not None:
            end = time.monotonic() + left
            scope[_DEADLINE] = _Deadline(
                end_of_generation=end - self._margin, end_of_storing=end - self._response
            )
        await self._app(scope, receive, send)


def end_of_generation(scope: Scope) -> float | None:
    """When generation ends with what it has, on `time.monotonic`'s clock; None for no deadline."""
    deadline: _Deadline | None = scope.get(_DEADLINE)
    return deadline.end_of_generation if deadline else None


def end_of_storing(scope: Scope) -> float | None:
    """Until when the answer may wait for the store; as `end_of_generation`."""
    deadline: _Deadline | None = scope.get(_DEADLINE)
    return deadline.end_of_storing if deadline else None


def lambda_event_remaining(scope: Scope) -> float | None:
    """Seconds that AWS Lambda leaves, from the invocation's context where Mangum puts it."""
    context = scope.get("aws.context")
    return None if context is None else context.get_remaining_time_in_millis() / 1000


class _AdapterContext(BaseModel):
    """What is read of the Lambda Web Adapter's header: ``deadline`` in milliseconds since 1970."""

    deadline: int = Field(gt=0, lt=2**63)


def lambda_adapter_remaining(scope: Scope) -> float | None:
    """Seconds that AWS Lambda leaves, from the header ``x-amzn-lambda-context``.

    Only for servers behind the Lambda Web Adapter, which replaces what a client sends under that
    name. None, with a warning in the log, for a header that can't be read.
    """
    for name, value in scope["headers"]:
        if name == _ADAPTER_CONTEXT:
            try:
                context = _AdapterContext.model_validate_json(value)
            except ValidationError as error:
                problem = error.errors(include_input=False, include_url=False)[0]["msg"]
                _log.warning("the request has no deadline: x-amzn-lambda-context: %s", problem)
                return None
            return context.deadline / 1000 - time.time()
    return None


def deadline_header() -> dict[str, str]:
    """Tells that the deadline ended a generation, and not the request's own limits."""
    return {"x-deadline": "reached"}


DEADLINE_REACHED = b": x-deadline: reached\n\n"
"""The same in a stream, whose headers are gone by then, as a comment."""
