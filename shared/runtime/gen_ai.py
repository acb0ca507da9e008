"""Attributes of inference spans: OpenTelemetry's semantic conventions for generative AI.

Nothing of a prompt or an answer is among them. Of stop sequences, which callers write, the
beginnings are: they may be of 64 kB, as much as a datagram takes.

https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-spans.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.util.types import AttributeValue

    from shared.runtime.request_context import Inference, RequestContext, UpstreamInference

Attributes = dict[str, "AttributeValue"]

_PROVIDER = "pilotlight"
_STOP_CHARACTERS = 64


def span_name(context: RequestContext, inference: Inference | UpstreamInference) -> str:
    """Name of a completion's span: operation and model."""
    return f"{inference.operation} {context.model}"


def inference_attributes(context: RequestContext, inference: Inference) -> Attributes:
    """Attributes of a completion's span.

    The model's name is the one that it is served under; sampling parameters are those that the
    sampler had, so defaults are told too.
    """
    model = context.model or ""
    found: Attributes = {
        "gen_ai.operation.name": inference.operation,
        "gen_ai.provider.name": _PROVIDER,
        "gen_ai.request.model": model,
        "gen_ai.response.model": model,
        "gen_ai.response.id": inference.response_id,
        **_parameters(inference),
    }
    reasons = [each.finish_reason for each in inference.choices if each.usage is not None]
    return found | _outcome(context, reasons, is_streamed=inference.is_streamed)


def upstream_attributes(context: RequestContext, inference: UpstreamInference) -> Attributes:
    """Attributes of the span of a completion by an upstream: what the request or defaults give."""
    model, fields = context.model or "", inference.fields
    found: Attributes = {
        "gen_ai.operation.name": inference.operation,
        "gen_ai.provider.name": inference.provider,
        "gen_ai.request.model": model,
        "gen_ai.response.model": model,
        "gen_ai.response.id": inference.response_id,
        "server.address": context.served_by or "",
    }
    limit = fields.get("max_completion_tokens") or fields.get("max_tokens")
    if limit is not None:
        found["gen_ai.request.max_tokens"] = limit
    for name in ("temperature", "top_p", "frequency_penalty", "presence_penalty"):
        if (value := fields.get(name)) is not None:
            found[f"gen_ai.request.{name}"] = float(value)
    if (seed := fields.get("seed")) is not None:
        found["gen_ai.request.seed"] = _signed(seed)
    if (n := fields.get("n") or 1) > 1:
        found["gen_ai.request.choice.count"] = n
    if inference.is_streamed:
        found["gen_ai.request.stream"] = True
    return found | _outcome(context, inference.finish_reasons(), is_streamed=inference.is_streamed)


def _outcome(context: RequestContext, reasons: Sequence[str], *, is_streamed: bool) -> Attributes:
    """Attributes of what a completion came to."""
    found: Attributes = {}
    if reasons:
        found["gen_ai.response.finish_reasons"] = list(reasons)
    if generation := context.generation:
        found["gen_ai.usage.input_tokens"] = generation.prompt_tokens
        found["gen_ai.usage.cache_read.input_tokens"] = generation.cached_tokens
        found["gen_ai.usage.output_tokens"] = generation.completion_tokens
        if is_streamed:
            first = generation.first_token - context.started
            found["gen_ai.response.time_to_first_chunk"] = first
    if context.is_deadline_reached:
        found["pilotlight.deadline_reached"] = True
    if error := error_type(context):
        found["error.type"] = error
    return found


def error_type(context: RequestContext) -> str | None:
    """The code of the error that the caller was told of, if there is one."""
    error = context.error
    return None if error is None else error.code or error.type


def _parameters(inference: Inference) -> Attributes:
    """``gen_ai.request.*``: those that are off, or of no choice of the caller's, are left out."""
    request = inference.requests[0]
    sampling = request.sampling
    found: Attributes = {
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.temperature": sampling.temperature,
        "gen_ai.request.top_p": sampling.top_p,
    }
    if sampling.top_k > 0:
        found["gen_ai.request.top_k"] = float(sampling.top_k)
    if sampling.frequency_penalty:
        found["gen_ai.request.frequency_penalty"] = sampling.frequency_penalty
    if sampling.presence_penalty:
        found["gen_ai.request.presence_penalty"] = sampling.presence_penalty
    if inference.seed is not None:
        found["gen_ai.request.seed"] = _signed(inference.seed)
    if request.n > 1:
        found["gen_ai.request.choice.count"] = request.n
    if request.stop:
        found["gen_ai.request.stop_sequences"] = [text[:_STOP_CHARACTERS] for text in request.stop]
    if inference.is_streamed:
        found["gen_ai.request.stream"] = True
    return found


def _signed(number: int) -> int:
    """The same 64 bits as a signed integer, which is what OTLP has: spans with others are lost."""
    return (number + 2**63) % 2**64 - 2**63
