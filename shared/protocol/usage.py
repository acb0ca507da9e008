"""``usage`` of answers: what their choices cost, added up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.engine.types import SequenceUsage


def usage_fields(
    choices: Sequence[SequenceUsage],
    n: int,
    reasoning_tokens: int = 0,
    cost: float | None = None,
) -> dict[str, Any]:
    """The sum over choices, ``n`` for each prompt, whose tokens count with its first.

    What the OpenAPI document calls `shared.protocol.responses.Usage`, as JSON has it: made as
    pydantic's models, it would be a tenth of what a request takes in Python.
    """
    prompt = cached = written = completion = predicted = accepted = 0
    for i, usage in enumerate(choices):
        if i % n == 0:
            prompt += usage.prompt_tokens
            cached += usage.cached_tokens
            written += usage.cache_write_tokens
        completion += usage.completion_tokens
        predicted += usage.prediction_tokens
        accepted += usage.accepted_prediction_tokens
    prompt_details = {"cached_tokens": cached, "audio_tokens": 0}
    if written:
        prompt_details["cache_write_tokens"] = written
    fields: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": prompt_details,
        "completion_tokens_details": {
            "reasoning_tokens": reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": accepted,
            "rejected_prediction_tokens": predicted - accepted,
        },
    }
    if cost is not None:
        fields["cost"] = cost
    return fields
