"""OpenTelemetry's tracer provider: service name, sampling, and spans of calls of AWS.

Imports the SDK, so only `Tracing.load` imports this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from types import ModuleType

from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState, get_current_span
from opentelemetry.util.types import Attributes
from wrapt import when_imported


def tracer_provider(
    processor: SpanProcessor, resource: Mapping[str, str] | None = None
) -> TracerProvider:
    """A provider that hands its spans to ``processor``, and not the process's global one.

    ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` come before ``resource``, and
    ``OTEL_TRACES_SAMPLER`` decides which requests are sampled.
    """
    known = {"service.name": "pilotlight", "service.version": version("pilotlight")}
    described = Resource.create({**known, **(resource or {})})
    provider = TracerProvider(
        resource=described.merge(OTELResourceDetector().detect()), shutdown_on_exit=False
    )
    provider.sampler = RequestSampler(provider.sampler)
    provider.add_span_processor(processor)

    # DynamoDB and S3. Not before somebody uses them: botocore takes 0.1 s to import.
    @when_imported("botocore.client")
    def instrument(_: ModuleType) -> None:
        from opentelemetry.instrumentation.botocore import BotocoreInstrumentor

        instrumentor = BotocoreInstrumentor()  # type: ignore[no-untyped-call]
        instrumentor.instrument(tracer_provider=provider, skip_dep_check=True)

    return provider


class RequestSampler(Sampler):
    """A sampler that lets only requests begin traces; about these it asks ``sampler``.

    Calls of AWS outside of any request, or below one that is not sampled, belong to no trace.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def should_sample(  # noqa: PLR0917 (OpenTelemetry's signature)
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Whether to record a span."""
        is_below_another = get_current_span(parent_context).get_span_context().is_valid
        if kind is not SpanKind.SERVER and not is_below_another:
            return SamplingResult(Decision.DROP)
        return self._sampler.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        """The sampler in words."""
        return f"RequestSampler{{{self._sampler.get_description()}}}"
