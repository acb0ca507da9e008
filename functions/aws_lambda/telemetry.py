"""What Lambda's functions tell of each request: JSON logs, CloudWatch metrics, X-Ray traces.

All of it is told before the last bytes of an answer: afterwards Lambda freezes the process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from functions.aws_lambda import tracing
from functions.aws_lambda.emf import EmfMetrics
from functions.aws_lambda.invocation import Invocations
from functions.aws_lambda.tracing import Tracing

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from shared.runtime.state import ServerState


class Telemetry:
    """An ASGI wrapper around the whole app that knows Lambda's invocations.

    ``service`` is the dimension of all metrics: ``inference``, ``streaming`` or ``api``. What is
    no invocation, such as the Lambda Web Adapter's own calls, is neither counted nor traced.
    """

    def __init__(self, app: ASGIApp, state: ServerState, service: str) -> None:
        self._app = app
        self._invocations = Invocations()
        self._tracing = Tracing(state, service) if tracing.is_enabled() else None
        state.metrics.observers.append(EmfMetrics(service))
        if self._tracing is not None:
            state.metrics.observers.append(self._tracing)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI 3)."""
        if scope["type"] == "http" and (current := self._invocations.begin(scope)):
            # The request's id, unless the caller has sent one, which comes later in the list.
            own = (b"x-request-id", current.request_id.encode())
            scope = {**scope, "headers": [own, *scope["headers"]]}
            if self._tracing is not None:
                self._tracing.begin(current)
        await self._app(scope, receive, send)
