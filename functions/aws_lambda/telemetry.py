"""Telemetry of Lambda's functions: CloudWatch metrics and traces, beside the JSON logs.

All of it leaves before the last bytes of an answer: afterwards Lambda freezes the process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from functions.aws_lambda.emf import EmfMetrics
from functions.aws_lambda.invocation import Invocations
from functions.aws_lambda.tracing import lambda_tracing
from shared.runtime import request_context

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from functions.aws_lambda.tracing import LambdaTracing
    from shared.runtime.state import ServerState


class Telemetry:
    """An ASGI wrapper around the whole app that knows Lambda's invocations.

    ``service`` is the dimension of all metrics: ``inference`` or ``api``. What is
    no invocation, such as the Lambda Web Adapter's own calls, is neither counted nor traced.
    """

    def __init__(self, app: ASGIApp, state: ServerState, service: str) -> None:
        self._app = app
        self._invocations = Invocations()
        self._tracing = state.tracing = lambda_tracing(state, service)
        if self._tracing is not None:
            self._tracing.start()
        state.metrics.observers.append(EmfMetrics(service))
        state.is_frozen_between = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI 3)."""
        if scope["type"] == "http" and (current := self._invocations.begin(scope)):
            # The request's id, unless the caller has sent one, which comes later in the list.
            own = (b"x-request-id", current.request_id.encode())
            scope = {**scope, "headers": [own, *scope["headers"]]}
            if self._tracing is not None:
                send = _flushing(self._tracing, send)
        await self._app(scope, receive, send)


def _flushing(tracing: LambdaTracing, send: Send) -> Send:
    """``send``, with the last part of an answer waiting for the spans of its request."""

    async def send_after_spans(message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            context = request_context.current()
            if context is not None and context.span is not None:
                await tracing.flush()
        await send(message)

    return send_after_spans
