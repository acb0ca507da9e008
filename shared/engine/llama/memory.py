"""Memory estimate of a context: what it takes, whether that fits, and what would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

CacheType = Literal["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"]
CACHE_TYPES: tuple[CacheType, ...] = get_args(CacheType)
"""What keys and values can be kept as; llama-server's ``--cache-type-k``."""

_BITS: dict[CacheType, float] = {
    **{"f32": 32, "f16": 16, "bf16": 16, "q8_0": 8.5, "q5_1": 6, "q5_0": 5.5, "q4_1": 5},
    **{"q4_0": 4.5, "iq4_nl": 4.5},
}
"""Bits of a value, its share of the block's scale included (ggml-common.h)."""
CACHE_BLOCK = 32
"""Values in a block of each quantised type."""

SMALLEST_CONTEXT = 256
"""llama.cpp's own step, in tokens."""


def is_quantized(cache_type: CacheType) -> bool:
    """Whether values share a scale in blocks."""
    return _BITS[cache_type] not in (16, 32)


@dataclass(frozen=True, kw_only=True, slots=True)
class ContextCost:
    """Bytes that a context of any length takes on one device: a sum, linear in its tokens.

    ``fixed``: logits and states, whatever the length. ``kv_per_token``: keys and values.
    ``compute_per_token``: attention scores and masks of one micro-batch. ``step``: what its length
    is a multiple of, 256 tokens for each part that the cells are divided into.
    """

    fixed: int
    kv_per_token: float
    compute_per_token: float
    step: int = SMALLEST_CONTEXT

    def plus(self, other: ContextCost) -> ContextCost:
        """The same with another context of as many tokens."""
        return replace(
            self,
            fixed=self.fixed + other.fixed,
            kv_per_token=self.kv_per_token + other.kv_per_token,
            compute_per_token=self.compute_per_token + other.compute_per_token,
        )

    def total(self, n_ctx: int) -> int:
        """Bytes for ``n_ctx`` tokens."""
        return self.fixed + round(n_ctx * (self.kv_per_token + self.compute_per_token))

    def kv(self, n_ctx: int) -> int:
        """Bytes of the KV cache alone."""
        return round(n_ctx * self.kv_per_token)

    def largest(self, available: int) -> int | None:
        """The longest context within ``available`` bytes, in tokens; None if it costs nothing."""
        per_token = self.kv_per_token + self.compute_per_token
        if per_token <= 0:
            return None
        tokens = int((available - self.fixed) // per_token)
        return max(tokens // self.step * self.step, 0)


@dataclass(frozen=True, slots=True)
class Place:
    """Memory with ``free`` bytes left: ``CUDA0``, ``this machine``; ``weights`` are there too.

    ``margin``: bytes of it that a context which nobody asked for leaves free.
    """

    name: str
    free: int
    cost: ContextCost
    weights: int = 0
    margin: int = 0


def attention_bytes(n_heads: int, n_ubatch: int, *, flash_attn: bool) -> int:
    """Bytes of compute buffer for each cell that a micro-batch looks at.

    A mask of 16-bit numbers where attention is fused. Else scores of 32 bits in every head, and a
    mask of such. Measured on llama.cpp's "compute buffer size", which it explains to within 10 %.
    """
    return n_ubatch * (2 if flash_attn else 4 * (n_heads + 1))


def largest_context(places: Sequence[Place], *, leaves_margin: bool = False) -> int | None:
    """The longest context that fits everywhere, and may leave a margin; None for any."""
    fitting = (place.cost.largest(place.free - leaves_margin * place.margin) for place in places)
    return min((n_ctx for n_ctx in fitting if n_ctx is not None), default=None)


def shortage(places: Sequence[Place], n_ctx: int, cache_type: CacheType) -> str | None:
    """Why ``n_ctx`` tokens don't fit and what would, in words; None if they fit."""
    if all(place.cost.total(n_ctx) <= place.free for place in places):
        return None
    return (
        f"a context of {n_ctx} tokens does not fit: {summary(places, n_ctx)}. "
        f"{_remedy(places, cache_type)}"
    )


def summary(places: Sequence[Place], n_ctx: int) -> str:
    """What ``n_ctx`` tokens take, and what there is, where it is scarcest."""
    if not places:
        return "nothing is known of how much memory is free"
    worst = max(places, key=lambda place: place.cost.total(n_ctx) - place.free)
    kv = worst.cost.kv(n_ctx)
    return (
        f"the KV cache takes {size(kv)} and computing {size(worst.cost.total(n_ctx) - kv)}, but "
        f"beside the model ({size(worst.weights)}) {size(worst.free)} are free on {worst.name}"
    )


def _remedy(places: Sequence[Place], cache_type: CacheType) -> str:
    fitting = largest_context(places) or 0
    if not fitting:
        return (
            "No context fits: it takes more memory, or a smaller model or quantisation "
            "(and fewer --parallel sequences, or a smaller --ubatch-size)."
        )
    remedies = [f"--ctx-size {fitting} fits"]
    if not is_quantized(cache_type):
        ratio = _BITS["q8_0"] / _BITS[cache_type]
        longer = largest_context([_quantized(place, ratio) for place in places]) or 0
        if longer > fitting:
            remedies.append(f"{longer} with --cache-type-k q8_0 --cache-type-v q8_0")
    return ", ".join(remedies) + "; else it takes more memory, or a smaller model."


def _quantized(place: Place, ratio: float) -> Place:
    cost = replace(place.cost, kv_per_token=ratio * place.cost.kv_per_token)
    return replace(place, cost=cost)


def size(n_bytes: float) -> str:
    """Bytes for people to read."""
    if n_bytes < 2**30:
        return f"{n_bytes / 2**20:.0f} MiB"
    return f"{n_bytes / 2**30:.1f} GiB"
