"""``generation_settings``: how a completion was sampled, in llama.cpp's names."""

from __future__ import annotations

from typing import Any

from shared.engine.types import SamplingParams
from shared.protocol.llama_cpp.requests import RANDOM_SEEDS, LlamaCppRequest

_SAMPLERS = (
    "penalties",
    "dry",
    "top_k",
    "typ_p",
    "top_p",
    "min_p",
    "xtc",
    "temperature",
)
"""The engine's order, which requests can't change."""

_OFF: dict[str, Any] = {
    "dynatemp_range": 0.0,
    "dynatemp_exponent": 1.0,
    "top_n_sigma": -1.0,
    "adaptive_target": -1.0,
    "adaptive_decay": 0.9,
    "min_keep": 0,
    "grammar_lazy": False,
    "grammar_triggers": [],
    "preserved_tokens": [],
    "chat_format": "Content-only",
    "reasoning_format": "none",
    "reasoning_in_content": False,
    "generation_prompt": "",
    "backend_sampling": False,
    "lora": [],
}
"""What this server has not, spelled as llama.cpp's spells it when it is off: programs with typed
answers expect every field."""


def generation_settings(
    request: LlamaCppRequest,
    sampling: SamplingParams,
    *,
    model: str,
    n_ctx: int,
    draft_types: str = "none",
) -> dict[str, Any]:
    """What ``request`` asked for, with everything it left out.

    ``seed`` is -1, as an unsigned number, where it was random; ``seed_cur`` is the one that was
    drawn. ``n_ctx`` in tokens. ``looks_up``: drafts of the next tokens are looked up in what came
    before.
    """
    limit, bias = request.requested_tokens, sampling.logit_bias
    n_predict = -1 if limit is None else limit
    return {
        "n_ctx": n_ctx,
        "model": model,
        "seed": RANDOM_SEEDS[1] if request.has_random_seed else sampling.seed,
        "seed_cur": sampling.seed,
        **sampled_settings(sampling),
        "stop": list(request.stop_strings()),
        "max_tokens": n_predict,
        "n_predict": n_predict,
        "n_keep": request.n_keep or 0,
        "n_discard": request.n_discard or 0,
        "ignore_eos": sampling.ignore_eos,
        "stream": bool(request.stream),
        "logit_bias": [
            {"token": token, "bias": value}
            for token, value in (bias.by_token.items() if bias is not None else ())
        ],
        "n_probs": request.top_logprobs or 0,
        "grammar": request.grammar or "",
        "samplers": list(_SAMPLERS),
        "timings_per_token": bool(request.timings_per_token),
        "post_sampling_probs": bool(request.post_sampling_probs),
        "speculative.types": draft_types,
        **_OFF,
    }


def sampled_settings(sampling: SamplingParams) -> dict[str, Any]:
    """Of these, those of the samplers."""
    return {
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "typical_p": sampling.typical_p,
        "xtc_probability": sampling.xtc_probability,
        "xtc_threshold": sampling.xtc_threshold,
        "repeat_last_n": sampling.repeat_last_n,
        "repeat_penalty": sampling.repeat_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "dry_multiplier": sampling.dry_multiplier,
        "dry_base": sampling.dry_base,
        "dry_allowed_length": sampling.dry_allowed_length,
        "dry_penalty_last_n": sampling.dry_penalty_last_n,
        "dry_sequence_breakers": list(sampling.dry_sequence_breakers),
        "mirostat": sampling.mirostat,
        "mirostat_tau": sampling.mirostat_tau,
        "mirostat_eta": sampling.mirostat_eta,
    }
