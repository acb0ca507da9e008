"""Tracing on Lambda: to X-Ray's daemon, or over OTLP to an endpoint that the environment names.

With X-Ray, Lambda makes the function's segment, decides which requests are sampled, and names both
to each invocation; a request's span is below that segment. Nothing waits for the daemon.

With an endpoint, it is as anywhere else, but for the end of an answer: Lambda freezes the process
after its last bytes, so these wait until the request's spans are sent, a second at most.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from functions.aws_lambda import invocation
from shared.runtime import tracing
from shared.runtime.tracing import Headers, Tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

    from shared.runtime.gen_ai import Attributes
    from shared.runtime.request_context import RequestContext
    from shared.runtime.state import ServerState

_DAEMON = "AWS_XRAY_DAEMON_ADDRESS"
_EXPORT_SECONDS = 1.0
"""An answer waits for that at most; spans that were not sent by then may be lost."""
_ANNOTATIONS = (
    "http.route",
    "http.response.status_code",
    "error.type",
    "gen_ai.request.model",
    "faas.coldstart",
)
"""Attributes that filter expressions know; all others are in the traces only.
https://docs.aws.amazon.com/xray/latest/devguide/xray-sdk-migration.html"""


class LambdaTracing(Tracing):
    """Spans of invocations, sent to an OTLP endpoint."""

    def __init__(self, state: ServerState, service: str) -> None:
        """``service`` is what the spans' resource is called: inference or api."""
        super().__init__()
        self._state = state
        self._service = service

    def attributes(self, context: RequestContext) -> Attributes:  # noqa: ARG002
        """The invocation."""
        current = invocation.current()
        if current is None:
            return {}
        return {
            "faas.invocation_id": current.request_id,
            "faas.coldstart": current.is_cold_start,
            "pilotlight.initialization_type": invocation.initialization_type(),
        }

    def awaited(self) -> Iterator[tuple[str, float, float]]:
        """What loading the model took, in the first trace of an environment that was waited for.

        Lambda knows no trace yet while it initializes.
        """
        current = invocation.current()
        loaded = self._state.loader.loaded
        is_waited_for = invocation.initialization_type() == "on-demand"
        if current is not None and current.is_cold_start and is_waited_for and loaded is not None:
            yield ("model load", *loaded)

    def resource(self) -> Mapping[str, str]:
        """The function."""
        return {
            "service.name": self._service,
            "cloud.provider": "aws",
            "cloud.platform": "aws_lambda",
            "cloud.region": os.environ.get("AWS_REGION", ""),
            "faas.name": os.environ.get("AWS_LAMBDA_FUNCTION_NAME", ""),
            "faas.version": os.environ.get("AWS_LAMBDA_FUNCTION_VERSION", ""),
        }

    async def flush(self) -> None:
        """Wait until the spans that have ended are sent, for `_EXPORT_SECONDS` at most."""
        if self._provider is not None:
            sent = asyncio.create_task(asyncio.to_thread(self._provider.force_flush))
            await asyncio.wait([sent], timeout=_EXPORT_SECONDS)


class XRayTracing(LambdaTracing):
    """Spans of sampled invocations, sent to X-Ray's daemon.

    Few requests are, so the SDK is not imported before one is, but for a snapshot: there it costs
    nothing.
    """

    def start(self) -> None:
        """Import the SDK where a snapshot is about to be taken."""
        if invocation.initialization_type() == "snap-start":
            self.load()

    def parent(self, _: Headers) -> Mapping[str, str] | None:
        """The function's segment as ``traceparent``; None where the request is not sampled."""
        current = invocation.current()
        if current is None or not current.is_sampled:
            return None
        return {"traceparent": traceparent(current.trace)}

    def attributes(self, context: RequestContext) -> Attributes:
        """The invocation, the model, and which attributes X-Ray can be searched by."""
        model = {"gen_ai.request.model": context.model} if context.model else {}
        return {**super().attributes(context), **model, "aws.xray.annotations": _ANNOTATIONS}

    def processor(self) -> SpanProcessor:
        """Sends each span when it ends."""
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor

        from functions.aws_lambda.xray_exporter import XRayExporter

        return SimpleSpanProcessor(XRayExporter())

    async def flush(self) -> None:
        """Nothing: what has ended is sent."""


def lambda_tracing(state: ServerState, service: str) -> LambdaTracing | None:
    """What the environment asks for: an endpoint comes before the daemon, which is always there."""
    if tracing.is_configured():
        return LambdaTracing(state, service)
    if _DAEMON in os.environ and tracing.is_enabled():
        return XRayTracing(state, service)
    return None


def traceparent(trace: str) -> str:
    """X-Ray's header ``Root=1-TIME-RANDOM;Parent=ID;Sampled=1`` as W3C's.

    X-Ray takes both spellings of a trace's id for the same.
    https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html#xray-api-traceids
    """
    root = re.search(r"(?:^|;)Root=1-([0-9a-f]{8})-([0-9a-f]{24})", trace)
    parent = re.search(r"(?:^|;)Parent=([0-9a-f]{16})", trace)
    assert root is not None
    assert parent is not None
    return f"00-{root[1]}{root[2]}-{parent[1]}-01"
