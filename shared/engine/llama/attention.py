"""Attention: whether it is fused where nobody says."""

from __future__ import annotations

from shared.engine.llama.attention_kernel import is_vectorized
from shared.engine.llama.memory import CacheType, is_quantized
from shared.engine.llama.model import Model


def fuses_attention(model: Model, asked: bool | None, cache_type_v: CacheType) -> bool:
    """Whether attention is one operation; ``asked``: ``flash_attn``, None for what is faster.

    That is fused attention on a GPU, and on a CPU whose kernel has vector code for the model's
    heads: prompts take 0.87 to 0.97 of their time, and a token up to 1.06 with 4,000 tokens of
    context. Where it computes heads number by number, a token takes twice as long with 2,000.
    Quantised values need it everywhere. On a GPU it is an intention: where a model's heads have no
    such kernel, llama.cpp goes without.
    """
    if asked is not None:
        return asked
    if is_quantized(cache_type_v) or model.n_gpu_layers > 0:
        return True
    return cache_type_v == "f16" and is_vectorized(model.head_width("value"))
