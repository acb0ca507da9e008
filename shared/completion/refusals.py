"""What callers are told of the engine's errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shared.engine.types import (
    ContextLengthError,
    EngineError,
    EngineStoppedError,
    QueueFullError,
    TooManySequencesError,
)
from shared.protocol.errors import context_length_exceeded, invalid, model_stopped, overloaded

if TYPE_CHECKING:
    from shared.completion.dialect import Dialect
    from shared.engine.types import GenerationRequest


def refusal(
    error: EngineError, dialect: Dialect[Any], requests: Sequence[GenerationRequest]
) -> Exception:
    """What the caller is told of the engine's ``error``, which is ours where it is nothing else."""
    field = dialect.prompt_field
    if isinstance(error, ContextLengthError):
        return context_length_exceeded(error.n_prompt, error.n_ctx, field)
    if isinstance(error, TooManySequencesError):
        return invalid(
            f"{error.n_sequences} completions in one request are more than this server lets "
            f"wait ({error.limit}). Ask for them in several requests.",
            dialect.count_field if requests[0].n > 1 else field,
        )
    if isinstance(error, QueueFullError):
        return overloaded(
            f"The server is at capacity: {error}. Try again in {error.retry_after} s.",
            error.retry_after,
        )
    return model_stopped() if isinstance(error, EngineStoppedError) else error
