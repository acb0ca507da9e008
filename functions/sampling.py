"""The request's sampling fields as the engine takes them."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, TypeVar

from shared.engine.types import SamplingParams
from shared.protocol.errors import invalid
from shared.protocol.fields import SharedFields

if TYPE_CHECKING:
    from shared.models.served import ServedModel

T = TypeVar("T", int, float)


def sampling_params(parsed: SharedFields, served: ServedModel) -> SamplingParams:
    """The request's sampling fields, with OpenAI's defaults; raises `APIError` 400."""
    bias: dict[int, float] = {}
    for key, value in (parsed.logit_bias or {}).items():
        token = int(key) if key.isascii() and key.isdigit() and len(key) < 10 else -1
        if not 0 <= token < served.model.n_vocab:
            raise invalid(
                f"Invalid 'logit_bias': '{key}' is no token id of this model "
                f"(0 to {served.model.n_vocab - 1}).",
                "logit_bias",
            )
        bias[token] = value
    return SamplingParams(
        seed=secrets.randbits(64) if parsed.seed is None else parsed.seed,
        temperature=_or(parsed.temperature, 1.0),
        top_p=_or(parsed.top_p, 1.0),
        top_k=_or(parsed.top_k, 0),
        min_p=_or(parsed.min_p, 0.0),
        typical_p=_or(parsed.typical_p, 1.0),
        presence_penalty=_or(parsed.presence_penalty, 0.0),
        frequency_penalty=_or(parsed.frequency_penalty, 0.0),
        repeat_penalty=_or(parsed.repeat_penalty, 1.0),
        repeat_last_n=_or(parsed.repeat_last_n, 64),
        logit_bias=bias,
        ignore_eos=bool(parsed.ignore_eos),
        min_tokens=parsed.min_tokens or 0,
    )


def _or(value: T | None, default: T) -> T:
    return default if value is None else value
