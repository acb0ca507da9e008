"""Fused attention or separate operations, where nobody says."""

from __future__ import annotations

from typing import Any, Literal, cast

import pytest

from shared.engine.config import EngineConfig
from shared.engine.llama import attention, attention_kernel
from shared.engine.llama.attention import fuses_attention
from shared.engine.llama.attention_kernel import is_vectorized
from shared.engine.llama.context_fit import new_context
from shared.engine.llama.memory import CacheType
from shared.engine.llama.model import Model


class _Heads:
    """A model of which only its heads and its layers on a GPU are known."""

    def __init__(self, width: int = 64, n_gpu_layers: int = 0) -> None:
        self.width = width
        self.n_gpu_layers = n_gpu_layers

    def head_width(self, kind: Literal["key", "value"]) -> int:
        return self.width if kind == "value" else 2 * self.width


def _fuses(heads: _Heads, asked: bool | None = None, cache_type_v: CacheType = "f16") -> bool:
    return fuses_attention(cast(Model, heads), asked, cache_type_v)


@pytest.fixture
def vectorized(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The widths of heads that the kernel has vector code for."""
    widths = {64}
    monkeypatch.setattr(attention, "is_vectorized", widths.__contains__)
    return widths


def test_a_cpu_fuses_where_its_kernel_has_vector_code_for_the_heads(vectorized: set[int]) -> None:
    assert _fuses(_Heads(64))
    assert not _fuses(_Heads(32))
    vectorized.add(32)
    assert _fuses(_Heads(32))


@pytest.mark.parametrize("cache_type", ["f32", "bf16"])
def test_other_floats_have_another_kernel(vectorized: set[int], cache_type: CacheType) -> None:
    assert 64 in vectorized
    assert not _fuses(_Heads(64), cache_type_v=cache_type)


@pytest.mark.usefixtures("vectorized")
def test_gpus_and_quantised_values_always_fuse() -> None:
    assert _fuses(_Heads(32, n_gpu_layers=1))
    assert _fuses(_Heads(32), cache_type_v="q8_0")


@pytest.mark.usefixtures("vectorized")
@pytest.mark.parametrize("asked", [True, False])
def test_who_asks_is_heard(asked: bool) -> None:
    assert _fuses(_Heads(64), asked) is asked
    assert _fuses(_Heads(32), asked) is asked


@pytest.mark.parametrize("is_fused", [True, False])
def test_contexts_are_made_so(
    model: Model, monkeypatch: pytest.MonkeyPatch, is_fused: bool
) -> None:
    monkeypatch.setattr(attention, "is_vectorized", lambda _: is_fused)
    context, _ = new_context(model, EngineConfig(n_parallel=1, n_ctx=256, n_threads=1))
    with context:
        layout = context.state_layout
    assert layout is not None
    has_transposed_values = any(layout.layers[:4])  # as separate operations need them
    assert has_transposed_values is not is_fused


def _takes(monkeypatch: pytest.MonkeyPatch, nanoseconds: dict[int, float]) -> None:
    """Let heads of each width take so long."""
    is_vectorized.cache_clear()
    monkeypatch.setattr(
        attention_kernel, "_seconds", lambda widths: [nanoseconds[w] for w in widths]
    )


@pytest.fixture
def forgotten() -> Any:
    """What was found out in other tests, and in this one, is not kept."""
    is_vectorized.cache_clear()
    yield
    is_vectorized.cache_clear()


@pytest.mark.usefixtures("forgotten")
def test_heads_that_take_longer_than_wider_ones_have_no_vector_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _takes(monkeypatch, {32: 11.3, 64: 12.3, 80: 29.5, 128: 15.1, 192: 18.4, 256: 19.8})  # AVX2
    assert [w for w in (32, 64, 80, 128, 192, 256) if is_vectorized(w)] == [32, 64, 128, 192, 256]
    # AVX-512 with 16-bit arithmetic
    _takes(monkeypatch, {32: 34.5, 64: 41.3, 80: 48.8, 128: 15.0, 192: 40.7, 256: 15.3})
    assert [w for w in (32, 64, 80, 128, 192, 256) if is_vectorized(w)] == [128, 256]


@pytest.mark.parametrize("width", [32, 64, 80, 192, 576])
def test_the_probe_runs_the_kernel_for_heads_of_any_width(width: int) -> None:
    seconds = attention_kernel._seconds((width, 128))

    assert len(seconds) == 2
    assert all(each > 0 for each in seconds)


@pytest.mark.usefixtures("forgotten")
def test_a_width_is_probed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    probed: list[tuple[int, ...]] = []

    def seconds(widths: tuple[int, ...]) -> list[float]:
        probed.append(widths)
        return [1.0, 1.0]

    monkeypatch.setattr(attention_kernel, "_seconds", seconds)
    assert is_vectorized(64)
    assert is_vectorized(64)
    assert is_vectorized(256)
    assert probed == [(64, 128)]


@pytest.mark.usefixtures("forgotten")
def test_a_build_that_does_not_export_the_kernel_is_taken_to_have_vector_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attention_kernel, "_ggml", object())
    assert is_vectorized(80)
