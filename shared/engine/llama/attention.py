"""Attention: whether it is fused where nobody says."""

from __future__ import annotations

from shared.engine.llama.memory import CacheType, is_quantized
from shared.engine.llama.model import Model


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
