"""Sizes that are read from llama.cpp's log: what is there, and that a missing line is an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import llama_cpp
import pytest

from shared.engine.config import EngineConfig
from shared.engine.llama import context_fit, model
from shared.engine.llama.context_fit import new_context
from shared.engine.llama.errors import LlamaError, ModelLoadError
from shared.engine.llama.log_sizes import MissingSizeError, SizeLine, read_sizes
from shared.engine.llama.model import Model
from shared.models.sources import BUILTIN_PATH
from tests.models.recurrent_models import (
    INNER,
    KERNEL,
    LFM2_KERNEL,
    STATE,
    WIDTH,
    write_lfm2,
    write_mamba,
)

Writer = Callable[[Path], Path]

WEIGHTS = SizeLine("load_tensors: NAME model buffer size = SIZE MiB")
ROUNDING = 0.006 * 2**20
"""Bytes by which a size in MiB with two decimals may be wrong."""
LOG = [
    "load_tensors: loading model tensors, this can take a while... (mmap = true)",
    "load_tensors:   CPU_Mapped model buffer size =   412.50 MiB",
    "load_tensors:   CPU_Mapped model buffer size =     0.50 MiB",
    "load_tensors:        CUDA0 model buffer size = 12345.75 MiB",
]


def measured(written: Path) -> context_fit._CellSizes:
    loaded = Model(written)
    try:
        config = EngineConfig(n_parallel=1, n_threads=1)
        return context_fit._measure(
            loaded, context_fit._params(loaded, config, n_ctx=256, is_unified=True)
        )
    finally:
        loaded.close()


def test_sizes_are_read_with_the_names_of_their_buffers() -> None:
    assert read_sizes(LOG, WEIGHTS) == [
        ("CPU_Mapped", 412.5 * 2**20),
        ("CPU_Mapped", 2**19),
        ("CUDA0", 12345.75 * 2**20),
    ]


def test_one_of_several_lines_is_enough() -> None:
    log = ["llama_dsv4_comp_state: csa ratio = 4, state = 8 x 64, layers = 3, size =   1.50 MiB"]
    assert read_sizes(log, *context_fit._STATES) == [("", 1.5 * 2**20)]
    assert read_sizes(
        ["llama_memory_recurrent: size =    2.00 MiB (     1 cells)"], *context_fit._STATES
    )


@pytest.mark.parametrize(
    "line",
    [
        "load_tensors: CPU_Mapped model buffer size = 0.41 GiB",
        "load_tensors: CPU_Mapped model buffer: 412.50 MiB",
        "llama_model_load: CPU_Mapped model buffer size = 412.50 MiB",
        "",
    ],
)
def test_another_wording_is_an_error_that_says_what_to_do(line: str) -> None:
    with pytest.raises(MissingSizeError) as refused:
        read_sizes([line], WEIGHTS)
    assert str(refused.value) == (
        f"llama-cpp-python {llama_cpp.__version__} did not log a line like 'load_tensors: NAME "
        "model buffer size = SIZE MiB', from which the memory that models take is known: install "
        "the version of llama-cpp-python that pilotlight's constraints.txt names"
    )


def test_a_model_whose_buffers_are_not_logged_is_not_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model, "_WEIGHTS", SizeLine("load_tensors: NAME weights = SIZE MiB"))
    with pytest.raises(ModelLoadError, match="did not log a line like 'load_tensors: NAME weigh"):
        Model(BUILTIN_PATH)


def test_no_context_is_made_if_the_size_of_its_kv_cache_is_not_logged(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context_fit, "_KV_CACHE", SizeLine("llama_kv_cache: takes SIZE MiB"))
    with pytest.raises(LlamaError, match="did not log a line like 'llama_kv_cache: takes SIZE"):
        new_context(model, EngineConfig())


def test_a_transformer_has_no_state_to_be_logged(model: Model) -> None:
    assert not model.is_recurrent
    assert model.has_kv_cache
    assert measured(BUILTIN_PATH).state == 0


@pytest.mark.slow
def test_a_recurrent_model_has_a_state_and_no_kv_cache(tmp_path: Path) -> None:
    sizes = measured(write_mamba(tmp_path / "mamba.gguf"))
    n_bytes = 2 * 4 * (INNER * (KERNEL - 1) + INNER * STATE)
    assert sizes.kv == 0
    assert sizes.state == pytest.approx(n_bytes, abs=ROUNDING)


@pytest.mark.slow
def test_a_hybrid_model_has_both(tmp_path: Path) -> None:
    sizes = measured(write_lfm2(tmp_path / "lfm2.gguf"))
    assert sizes.kv == pytest.approx(2 * 2 * WIDTH, abs=ROUNDING / 256)
    assert sizes.state == pytest.approx(4 * WIDTH * (LFM2_KERNEL - 1), abs=ROUNDING)


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_mamba, write_lfm2])
def test_no_context_is_made_if_the_size_of_its_states_is_not_logged(
    write: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        context_fit, "_STATES", (SizeLine("llama_memory_recurrent: takes SIZE MiB"),)
    )
    with pytest.raises(MissingSizeError, match="'llama_memory_recurrent: takes SIZE MiB'"):
        measured(write(tmp_path / "model.gguf"))


@pytest.mark.slow
def test_a_hybrid_model_without_the_line_of_its_kv_cache_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context_fit, "_KV_CACHE", SizeLine("llama_kv_cache: takes SIZE MiB"))
    with pytest.raises(MissingSizeError):
        measured(write_lfm2(tmp_path / "model.gguf"))
