"""``timings`` and ``prompt_progress``, as llama.cpp's server has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from shared.engine.types import Output, PromptProgress, SequenceUsage


def _is_zero(value: float) -> bool:
    return not value


def _is_absent(value: object) -> bool:
    return value is None


class Timings(BaseModel):
    """``timings``: tokens, milliseconds, and the rates they make.

    The first token is the prompt's work, so that the rate of prediction leaves it out.
    """

    model_config = ConfigDict(defer_build=True)

    cache_n: int = Field(description="Prompt tokens whose KV cells were still there.")
    prompt_n: int = Field(description="Prompt tokens that were evaluated.")
    prompt_ms: float
    prompt_per_token_ms: float
    prompt_per_second: float
    predicted_n: int
    predicted_ms: float
    predicted_per_token_ms: float
    predicted_per_second: float
    draft_n: int = Field(
        default=0,
        exclude_if=_is_zero,
        description="Tokens that were drafted; there only where some were.",
    )
    draft_n_accepted: int | None = Field(
        default=None,
        exclude_if=_is_absent,
        description="Of draft_n, those that are in the completion.",
    )
    cache_restored_n: int = Field(
        default=0,
        exclude_if=_is_zero,
        description="Of cache_n, those that were not in KV cells but in memory or a store (ours).",
    )
    cache_restore_ms: float = Field(
        default=0,
        exclude_if=_is_zero,
        description="Time that looking for them took (ours).",
    )

    @classmethod
    def of(cls, usage: SequenceUsage) -> Timings:
        """What ``usage`` says in llama.cpp's units."""
        n_evaluated = usage.prompt_tokens - usage.cached_tokens
        prompt_ms = usage.prefill_seconds * 1000
        n_steps = max(usage.completion_tokens - 1, 0)
        predicted_ms = usage.decode_seconds * 1000
        return cls(
            cache_n=usage.cached_tokens,
            prompt_n=n_evaluated,
            prompt_ms=prompt_ms,
            prompt_per_token_ms=_ratio(prompt_ms, n_evaluated),
            prompt_per_second=_ratio(1000 * n_evaluated, prompt_ms),
            predicted_n=usage.completion_tokens,
            predicted_ms=predicted_ms,
            predicted_per_token_ms=_ratio(predicted_ms, n_steps),
            predicted_per_second=_ratio(1000 * n_steps, predicted_ms),
            draft_n=usage.draft_tokens,
            draft_n_accepted=usage.accepted_draft_tokens if usage.draft_tokens else None,
            cache_restored_n=usage.restored_tokens,
            cache_restore_ms=usage.restore_seconds * 1000,
        )


def _ratio(amount: float, per: float) -> float:
    return amount / per if per else 0.0


class Progress(BaseModel):
    """``prompt_progress``: how many of the prompt's tokens are evaluated."""

    model_config = ConfigDict(defer_build=True)

    total: int
    cache: int
    processed: int
    time_ms: int

    @classmethod
    def of(cls, progress: PromptProgress) -> Progress:
        """What ``progress`` says in llama.cpp's names and units."""
        return cls(
            total=progress.total,
            cache=progress.cached,
            processed=progress.processed,
            time_ms=int(progress.seconds * 1000),
        )


def extra_fields(output: Output, *, has_timings: bool) -> bytes:
    """``timings`` and ``prompt_progress`` of a chunk, as JSON to append to its other fields."""
    extra = b""
    if has_timings and output.usage is not None:
        extra = b',"timings":' + Timings.of(output.usage).model_dump_json().encode()
    if output.progress is not None:
        progress = Progress.of(output.progress).model_dump_json().encode()
        extra += b',"prompt_progress":' + progress
    return extra
