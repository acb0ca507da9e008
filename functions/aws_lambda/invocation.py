"""Invocation that a request belongs to: known to the log, the metrics and the trace."""

from __future__ import annotations

import logging
import os
import re
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from starlette.types import Scope

_CONTEXT = b"x-amzn-lambda-context"
"""The invocation's context as JSON. The Lambda Web Adapter sets it and lets no caller's through."""
_TRACE = b"x-amzn-trace-id"
_TRACE_HEADER = re.compile(r"[A-Za-z]+=[ -:<-~]*(;[A-Za-z]+=[ -:<-~]*)*")
_SAMPLED = [
    re.compile(rf"(^|;){pair}(;|$)")
    for pair in ("Root=1-[0-9a-f]{8}-[0-9a-f]{24}", "Parent=[0-9a-f]{16}", "Sampled=1")
]

_log = logging.getLogger("pilotlight")

_current: ContextVar[Invocation | None] = ContextVar("invocation", default=None)


@dataclass(frozen=True, slots=True)
class Invocation:
    """One invocation of a function.

    ``request_id`` is Lambda's. ``trace`` is X-Ray's header of the function's segment,
    ``Root=1-...;Parent=...;Sampled=1``, empty where nothing is traced. ``is_cold_start`` marks the
    first one of an environment that was made for it.
    """

    request_id: str
    trace: str
    is_cold_start: bool

    @property
    def is_sampled(self) -> bool:
        """Whether the request is traced."""
        return all(pair.search(self.trace) for pair in _SAMPLED)


class _AdapterContext(BaseModel):
    """What is read of the Lambda Web Adapter's header."""

    request_id: str
    xray_trace_id: str | None = None


class Invocations:
    """Tells an environment's invocations from what else calls its app: the adapter itself."""

    def __init__(self) -> None:
        # Provisioned environments are there before their first request: it waits for nothing.
        self._is_cold = initialization_type() != "provisioned-concurrency"

    def begin(self, scope: Scope) -> Invocation | None:
        """The invocation that ``scope`` is about, current from now on; None if it is none.

        The first one is a cold start, also after a restore: each copy of a snapshot, which is made
        before any invocation, has a first one of its own.
        """
        found = _event_facts(scope) or _adapter_facts(scope)
        invocation = None
        if found is not None:
            invocation = Invocation(*found, is_cold_start=self._is_cold)
            self._is_cold = False
        _current.set(invocation)
        return invocation


def current() -> Invocation | None:
    """The invocation that the caller is part of, None outside of any."""
    return _current.get()


def initialization_type() -> str:
    """How the environment came to be: on-demand, provisioned-concurrency or snap-start.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """
    return os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")


def _event_facts(scope: Scope) -> tuple[str, str] | None:
    """Request id and trace where Mangum passes Lambda's context on."""
    context = scope.get("aws.context")
    if context is None:
        return None
    # Not the event's header: that is API Gateway's. The runtime client sets this one each time.
    return context.aws_request_id, _trace(os.environ.get("_X_AMZN_TRACE_ID", ""))


def _adapter_facts(scope: Scope) -> tuple[str, str] | None:
    """Request id and trace behind the Lambda Web Adapter; empty where its header is damaged."""
    headers = dict(scope["headers"])
    if _CONTEXT not in headers:
        return None
    trace = headers.get(_TRACE, b"").decode("latin-1")
    try:
        context = _AdapterContext.model_validate_json(headers[_CONTEXT])
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]["msg"]
        _log.warning("the invocation has no id: x-amzn-lambda-context: %s", problem)
        return "", _trace(trace)
    return context.request_id, _trace(context.xray_trace_id or trace)


def _trace(header: str) -> str:
    """X-Ray's header; empty if it is none, which a caller may have sent."""
    return header if _TRACE_HEADER.fullmatch(header) else ""
