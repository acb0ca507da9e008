"""Sampling parameters of a request, as the engine takes them."""

from __future__ import annotations

import dataclasses
import secrets
from typing import TYPE_CHECKING, Any

from shared.engine.types import SamplingParams
from shared.protocol.errors import invalid
from shared.protocol.fields import SharedFields

if TYPE_CHECKING:
    from shared.engine.sampling.logit_bias import LogitBias

_SAME = frozenset(
    field.name
    for field in dataclasses.fields(SamplingParams)
    if field.name not in ("seed", "logit_bias", "dry_sequence_breakers")
)
"""Parameters that the engine takes as they are; it knows the defaults."""


def sampling_params(parsed: SharedFields, bias: LogitBias | None = None) -> SamplingParams:
    """The request's sampling fields, with its `logit_bias`.

    Absent fields have OpenAI's and llama.cpp's defaults; an absent seed is random.
    """
    given: dict[str, Any] = {
        name: value
        for name in _SAME & parsed.model_fields_set  # most requests set one or two of them
        if (value := getattr(parsed, name)) is not None
    }
    if parsed.repetition_penalty is not None:
        given.setdefault("repeat_penalty", parsed.repetition_penalty)
    if parsed.dry_sequence_breakers is not None:
        given["dry_sequence_breakers"] = tuple(parsed.dry_sequence_breakers)
    return SamplingParams(
        seed=secrets.randbits(64) if parsed.seed is None else parsed.seed,
        logit_bias=bias,
        **given,
    )


def logit_bias(parsed: SharedFields, n_vocab: int) -> LogitBias | None:
    """The request's ``logit_bias``, if there is any; raises `APIError` 400."""
    if not parsed.logit_bias:
        return None
    from shared.engine.sampling.logit_bias import LogitBias  # it needs NumPy: few requests do

    bias: dict[int, float] = {}
    for key, value in parsed.logit_bias.items():
        token = int(key) if key.isascii() and key.isdigit() and len(key) < 10 else -1
        if not 0 <= token < n_vocab:
            raise invalid(
                f"Invalid 'logit_bias': '{key}' is no token id of this model (0 to {n_vocab - 1}).",
                "logit_bias",
            )
        bias[token] = value
    return LogitBias(bias)
