"""What contexts cost, and what is said of those that don't fit; all sizes are made up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.engine.llama.memory import (
    CACHE_TYPES,
    ContextCost,
    Place,
    attention_bytes,
    is_quantized,
    largest_context,
    shortage,
    size,
)

GIB = 2**30
COST = ContextCost(fixed=GIB, kv_per_token=131072, compute_per_token=1024)
"""An 8 B model's: 8 GiB for 65,536 tokens."""
GPU = Place("CUDA0", 10 * GIB, COST, weights=4 * GIB)


def test_the_largest_context_fits_and_one_step_more_does_not() -> None:
    n_ctx = COST.largest(10 * GIB)
    assert n_ctx is not None
    assert n_ctx % 256 == 0
    assert COST.total(n_ctx) <= 10 * GIB < COST.total(n_ctx + 256)


def test_shares_fit_whole_or_not_at_all() -> None:
    n_ctx = replace(COST, step=16 * 256).largest(10 * GIB)
    assert n_ctx is not None
    assert n_ctx % (16 * 256) == 0


def test_nothing_fits_where_not_even_what_is_fixed_does() -> None:
    assert COST.largest(GIB // 2) == 0


def test_a_context_that_costs_nothing_may_have_any_length() -> None:
    free = ContextCost(fixed=GIB, kv_per_token=0, compute_per_token=0)
    assert free.largest(2 * GIB) is None
    assert largest_context([replace(GPU, cost=free)]) is None


def test_the_scarcest_place_decides() -> None:
    host = Place("this machine", GIB, replace(COST, fixed=0))
    assert largest_context([GPU, host]) == COST.largest(2 * GIB)


def test_a_margin_is_left_free() -> None:
    generous = replace(GPU, margin=GIB)
    assert largest_context([generous], leaves_margin=True) == COST.largest(9 * GIB)
    assert largest_context([generous]) == COST.largest(10 * GIB)


def test_what_fits_is_no_shortage() -> None:
    assert shortage([GPU], 65536, "f16") is None


def test_a_shortage_names_sizes_place_and_what_fits() -> None:
    problem = shortage([replace(GPU, free=8 * GIB)], 131072, "f16")
    assert problem == (
        "a context of 131072 tokens does not fit: the KV cache takes 16.0 GiB and computing "
        "1.1 GiB, but beside the model (4.0 GiB) 8.0 GiB are free on CUDA0. --ctx-size 56832 fits, "
        "106240 with --cache-type-k q8_0 --cache-type-v q8_0; else it takes more memory, or a "
        "smaller model."
    )


def test_the_context_that_is_advised_fits() -> None:
    scarce = replace(GPU, free=8 * GIB)
    assert shortage([scarce], 56832, "f16") is None
    small = replace(COST, kv_per_token=COST.kv_per_token * 8.5 / 16)
    assert shortage([replace(scarce, cost=small)], 106240, "q8_0") is None


def test_quantised_caches_are_not_advised_to_be_quantised() -> None:
    problem = shortage([replace(GPU, free=8 * GIB)], 131072, "q8_0")
    assert problem is not None
    assert "--cache-type" not in problem


def test_where_no_context_fits_the_advice_is_another() -> None:
    problem = shortage([replace(GPU, free=GIB // 2)], 4096, "f16")
    assert problem is not None
    assert "No context fits" in problem
    assert "--ctx-size" not in problem


def test_fused_attention_keeps_masks_only() -> None:
    assert attention_bytes(32, 512, flash_attn=True) == 512 * 2
    assert attention_bytes(32, 512, flash_attn=False) == 512 * 4 * 33


@pytest.mark.parametrize("cache_type", CACHE_TYPES)
def test_quantised_types_are_those_with_blocks(cache_type: str) -> None:
    assert is_quantized(cache_type) == ("q" in cache_type)  # type: ignore[arg-type]


def test_sizes_are_for_people() -> None:
    assert [size(n) for n in (5 * 2**20, 1536 * 2**20)] == ["5 MiB", "1.5 GiB"]
