"""Attention: whether it is fused, and which keys it is fast with, where nobody says."""

from __future__ import annotations

from shared.engine.llama.memory import CacheType, is_quantized
from shared.engine.llama.model import Model

_NARROW_HEAD = 32
"""Numbers in a head that are less than llama.cpp multiplies at once as ``f16`` (64 with AVX-512).

It is what a block of ``q8_0`` has.
"""


def fuses_attention(model: Model, asked: bool | None, cache_type_v: CacheType) -> bool:
    """Whether attention is one operation; ``asked``: ``flash_attn``, None for what decodes faster.

    That is fused attention on a GPU, and separate operations on a CPU: there the fused kernel takes
    16 % longer to decode 16 sequences of 150 tokens and 2.3 times as long with 3,000 tokens of
    context (it evaluates such prompts 40 % faster); with AVX-512 up to 10 % longer with 1,000
    tokens (and prompts 7 % faster). Quantised values need it everywhere. On a GPU it is an
    intention: where a model's heads have no such kernel, llama.cpp goes without.
    """
    if asked is not None:
        return asked
    return is_quantized(cache_type_v) or model.n_gpu_layers > 0


def usual_key_type(model: Model, flash_attn: bool | None, cache_type_v: CacheType) -> CacheType:
    """What keys are kept as where nobody says: ``f16``, and ``q8_0`` where that is much faster.

    On a CPU keys of narrow heads are multiplied number by number as ``f16``. With separate
    operations a step of 16 sequences of the built-in model takes 0.6 of the time as ``q8_0``, one
    of a single sequence with 250 tokens half; prompts take the same. Fused, prompts take twice.
    """
    is_slow = (
        model.has_kv_cache and model.n_gpu_layers == 0 and model.head_width("key") == _NARROW_HEAD
    )
    if is_slow and not fuses_attention(model, flash_attn, cache_type_v):
        return "q8_0"
    return "f16"
