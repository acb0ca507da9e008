"""Tracing: OpenTelemetry spans of requests, exported over OTLP/HTTP.

Off unless one of OpenTelemetry's own variables names an endpoint, and then nothing of it is
imported: SDK, exporter and HTTP client take some 0.2 s of CPU time. The parts of a generation
become spans when it has ended, from the times that the engine has taken: the hot path knows nothing
of them.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from shared.runtime.gen_ai import (
    Attributes,
    error_type,
    inference_attributes,
    span_name,
    upstream_attributes,
)
from shared.runtime.request_context import Inference

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Span, Tracer

    from shared.runtime.request_context import RequestContext

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_UNTRACED = ("/health", "/v1/health", "/metrics")
"""What probes and scrapers ask for, every few seconds for as long as a server runs."""
_CLOSE_SECONDS = 3.0
"""For sending the last spans: a collector that does not answer must not hold up a shutdown."""

Headers = list[tuple[bytes, bytes]]


def is_enabled(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment does not switch traces off."""
    is_disabled = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not is_disabled and environ.get("OTEL_TRACES_EXPORTER", "") in ("", "otlp")


def is_configured(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment names an OTLP endpoint, and does not switch traces off."""
    return any(map(environ.get, _ENDPOINTS)) and is_enabled(environ)


class Tracing:
    """A span for each request: `begin` when it comes, `end` when its context is complete.

    A request continues the trace that its ``traceparent`` header names. Spans are sent in batches,
    by a thread of the SDK. Platforms override `start`, `parent`, `attributes`, `awaited`,
    `resource` and `processor`.
    """

    def __init__(self) -> None:
        self._tracer: Tracer | None = None
        self._provider: TracerProvider | None = None
        self._loading = threading.Lock()

    def start(self) -> None:
        """Import the SDK before the first request, which would wait for it."""
        self.load()

    def begin(self, context: RequestContext, path: str, headers: Headers) -> None:
        """Start a request's span, and make it current for what the calling task does."""
        if path in _UNTRACED or (carrier := self.parent(headers)) is None:
            return
        tracer = self.load()
        from opentelemetry.context import Context, attach
        from opentelemetry.trace import SpanKind, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        # Whoever called may be traced, and its header says so; nothing else of its context counts.
        parent = TraceContextTextMapPropagator().extract(carrier, Context())
        span = tracer.start_span(context.method, parent, SpanKind.SERVER)
        attach(set_span_in_context(span))  # calls of AWS become spans below it
        if span.is_recording():
            context.span = span

    def end(self, context: RequestContext) -> None:
        """Describe a request by its context, and end its span."""
        span = context.span
        assert span is not None
        from opentelemetry.trace import Status, StatusCode

        self._add_parts(span, context)
        span.update_name(f"{context.method} {context.path}")
        span.set_attributes({**_request_attributes(context), **self.attributes(context)})
        if context.is_server_error:
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def close(self) -> None:
        """Send what has not been sent yet; waits for that, for some seconds at most."""
        provider, self._provider = self._provider, None
        if provider is not None:
            last = threading.Thread(target=provider.shutdown, name="last-spans", daemon=True)
            last.start()
            last.join(_CLOSE_SECONDS)

    def load(self) -> Tracer:
        """The tracer; the first call imports the SDK."""
        with self._loading:
            if self._tracer is None:
                from shared.runtime.tracer_provider import tracer_provider

                self._provider = tracer_provider(self.processor(), self.resource())
                self._tracer = self._provider.get_tracer("pilotlight")
            return self._tracer

    def parent(self, headers: Headers) -> Mapping[str, str] | None:
        """The header ``traceparent`` of the caller's span; None for a request not to trace."""
        return {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in headers
            if name in (b"traceparent", b"tracestate")
        }

    def attributes(self, context: RequestContext) -> Attributes:  # noqa: ARG002
        """What else the platform has to say of a request."""
        return {}

    def awaited(self) -> Iterable[tuple[str, float, float]]:
        """What else the current request has waited for: names, and moments of `time.monotonic`."""
        return ()

    def resource(self) -> Mapping[str, str]:
        """Attributes of the server, which all spans have."""
        return {}

    def processor(self) -> SpanProcessor:
        """What sends the spans that have ended."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        return BatchSpanProcessor(OTLPSpanExporter())

    def _add_parts(self, span: Span, context: RequestContext) -> None:
        """Add spans below the request's ``span``, from moments that are past."""
        add = _PastSpans(self.load())
        for name, started, ended in self.awaited():
            add(span, name, started, ended)
        if inference := context.inference:
            generation = context.generation
            is_here = isinstance(inference, Inference)
            if isinstance(inference, Inference):
                attributes = inference_attributes(context, inference)
            else:
                attributes = upstream_attributes(context, inference)
            # One that has failed has not ended, and knows no times.
            ended = generation.ended if generation else time.monotonic()
            name = span_name(context, inference)
            is_failed = context.is_server_error
            whole = add(span, name, inference.submitted, ended, attributes, is_failed=is_failed)
            if generation and is_here:
                add(whole, "queue", generation.submitted, generation.begun)
                add(whole, "prefill", generation.begun, generation.first_token)
                add(whole, "decode", generation.first_token, generation.ended)
        if context.store_started is not None:
            ended = context.store_started + context.store_seconds
            add(span, "store", context.store_started, ended)


class _PastSpans:
    """Spans between two moments of `time.monotonic` that are past."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._offset = time.time() - time.monotonic()

    def __call__(
        self,
        parent: Span,
        name: str,
        started: float,
        ended: float,
        attributes: Attributes | None = None,
        *,
        is_failed: bool = False,
    ) -> Span:
        from opentelemetry.trace import Status, StatusCode, set_span_in_context

        span = self._tracer.start_span(
            name,
            set_span_in_context(parent),
            attributes=attributes,
            start_time=self._nanoseconds(started),
        )
        if is_failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(self._nanoseconds(ended))
        return span

    def _nanoseconds(self, moment: float) -> int:
        """Since 1970."""
        return int((moment + self._offset) * 1e9)


def _request_attributes(context: RequestContext) -> Attributes:
    found: Attributes = {
        "http.request.method": context.method,
        "http.route": context.path,
        "pilotlight.request_id": context.request_id,
    }
    if context.status:
        found["http.response.status_code"] = context.status
    if error := error_type(context):
        found["error.type"] = error
    return found
