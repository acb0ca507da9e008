"""Contexts of any kind and size on the built-in model, and those that don't context_fit."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shared.engine.config import EngineConfig, default_threads
from shared.engine.llama import context_fit
from shared.engine.llama.context_fit import new_context
from shared.engine.llama.devices import Device, gpus
from shared.engine.llama.errors import LlamaError
from shared.engine.llama.memory import CacheType, Place
from shared.engine.llama.model import Model
from shared.engine.llama.offload import Offload
from shared.host.memory import MemoryLimit
from shared.models.sources import BUILTIN_PATH
from tests.engine.conftest import EngineFactory, chat, one, request, run

GIB = 2**30
CAPITALS = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Japan": "Tokyo"}

TYPES: list[tuple[CacheType, CacheType]] = [
    *(("f32", "f32"), ("bf16", "bf16"), ("q8_0", "f16"), ("q8_0", "q8_0"), ("q4_0", "q4_0")),
    *(("q5_1", "q5_0"), ("q4_1", "f16"), ("iq4_nl", "f16")),
]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let other tests' servers in this process have no models."""
    monkeypatch.setattr(context_fit, "others", lambda _: [])
    monkeypatch.setattr(context_fit, "mapped_by_others", lambda _: 0)


def set_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """Let the host have so many bytes."""
    limit = MemoryLimit("this machine", 64 * GIB, free)
    monkeypatch.setattr(context_fit, "host_memory", lambda: limit)


def size_of(model: Model, **sizes: object) -> tuple[int, bool]:
    """Cells of the context that an engine of these sizes would have, and whether they are a pool."""
    context, params = new_context(model, EngineConfig(**sizes))  # type: ignore[arg-type]
    with context:
        return context.n_ctx, params.kv_unified


_COUNT_THREADS = """
from pathlib import Path

from shared.engine.config import EngineConfig
from shared.engine.llama.context_fit import new_context
from shared.engine.llama.model import Model
from shared.models.sources import BUILTIN_PATH


def count():
    return len(list(Path("/proc/self/task").iterdir()))


model = Model(BUILTIN_PATH)
before = count()
context, _ = new_context(model, EngineConfig(n_parallel=1, n_ctx=256, n_threads=2))
print(before, count())
"""


@pytest.mark.usefixtures("processes")
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
def test_no_worker_of_openmp_is_left_of_measuring_a_model() -> None:
    """With more of them than cores, libgomp lets none spin: steps take 1.3 times as long.

    In a process of its own, where nobody else's threads come and go.
    """
    done = subprocess.run(
        [sys.executable, "-c", _COUNT_THREADS], capture_output=True, text=True, check=True
    )
    before, after = done.stdout.split()
    assert before == after


@pytest.mark.sweep(2)
@pytest.mark.parametrize(("keys", "values"), TYPES)
def test_answers_are_the_same_whatever_the_cache_keeps(
    make_engine: EngineFactory, model: Model, keys: CacheType, values: CacheType
) -> None:
    engine = make_engine(n_parallel=4, cache_type_k=keys, cache_type_v=values)
    questions = [f"What is the capital of {country}?" for country in CAPITALS]
    answers = run(engine, *(request(chat(model, question)) for question in questions))
    assert [answer.text for answer in answers] == [
        f"The capital of {country} is {capital}." for country, capital in CAPITALS.items()
    ]


@pytest.mark.parametrize("cache_type", ["q8_0", "q4_0"])
def test_prefixes_of_quantised_caches_are_shared(
    make_engine: EngineFactory, model: Model, cache_type: CacheType
) -> None:
    engine = make_engine(n_parallel=4, cache_type_k=cache_type, cache_type_v=cache_type)
    prompt = chat(model, " ".join(["What is the capital of France?"] * 8))
    first = one(engine, request(prompt))
    second, third = run(engine, request(prompt), request([*prompt[:-1], *prompt[-1:]]))
    assert second.text == third.text == first.text
    assert second.cost.cached_tokens == third.cost.cached_tokens == len(prompt) - 1


def test_quantised_values_need_fused_attention(model: Model) -> None:
    with pytest.raises(LlamaError, match="without flash attention: set --flash-attn true"):
        size_of(model, cache_type_v="q8_0", flash_attn=False)


@pytest.mark.slow
@pytest.mark.parametrize("n_ubatch", [1, 16, 100])
def test_answers_are_the_same_whatever_is_computed_at_once(
    make_engine: EngineFactory, model: Model, n_ubatch: int
) -> None:
    engine = make_engine(n_parallel=4, n_batch=256, n_ubatch=n_ubatch)
    prompt = chat(model, "Count from 1 to 100")
    alone, *together = run(engine, *[request(prompt, 100) for _ in range(5)])
    assert alone.text.startswith("1, 2, 3, 4, 5")
    assert all(answer.text == alone.text for answer in together)


def test_scores_of_a_prompt_come_whole_from_several_micro_batches(
    make_engine: EngineFactory, model: Model
) -> None:
    prompt = chat(model, "Tell me a story " * 20)
    asked = request(prompt, 1, prompt_logprobs=True, top_logprobs=0)
    whole = one(make_engine(), asked).prompt_logprobs
    parts = one(make_engine(n_ubatch=32), asked).prompt_logprobs
    assert len(parts) == len(whole) == len(prompt)


@pytest.mark.slow
def test_the_usual_contexts_are_chosen_where_they_fit(model: Model) -> None:
    assert size_of(model) == (16 * 4096, False)
    assert size_of(model, n_parallel=4) == (16384, True)
    assert size_of(model, kv_unified=True) == (16384, True)


def test_less_memory_makes_the_context_shorter(
    model: Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    set_free(monkeypatch, 220 * 2**20)
    n_ctx, is_unified = size_of(model, n_parallel=4)
    assert 1024 <= n_ctx < 16384
    assert is_unified
    assert f"{n_ctx} tokens of context: the usual 16384 take too much memory" in caplog.text


def test_shares_that_do_not_fit_become_a_pool(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_free(monkeypatch, 320 * 2**20)
    n_ctx, is_unified = size_of(model)
    assert is_unified
    assert 4096 <= n_ctx <= 16384


def test_shares_that_were_asked_for_become_smaller(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_free(monkeypatch, 220 * 2**20)
    n_ctx, is_unified = size_of(model, kv_unified=False)
    assert not is_unified
    assert n_ctx < 16 * 4096
    assert n_ctx % (16 * 256) == 0


@pytest.mark.slow
def test_a_context_that_was_asked_for_is_given_or_refused(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_free(monkeypatch, GIB)
    with pytest.raises(LlamaError, match="a context of 1003520 tokens does not fit") as refused:
        size_of(model, n_ctx=1_000_000)
    advised = re.search(r"--ctx-size (\d+) fits, (\d+) with", str(refused.value))
    assert advised
    plain, quantised = int(advised[1]), int(advised[2])
    assert size_of(model, n_ctx=plain) == (plain, False)
    assert size_of(model, n_ctx=quantised, cache_type_k="q8_0", cache_type_v="q8_0") == (
        quantised,
        False,
    )
    with pytest.raises(LlamaError, match="does not fit"):
        size_of(model, n_ctx=plain + 4096)


def test_no_context_at_all_may_fit(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    set_free(monkeypatch, 2**20)
    with pytest.raises(LlamaError, match="No context fits"):
        size_of(model)


def test_a_context_too_short_to_be_of_use_is_refused(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_free(monkeypatch, 14 * 2**20)
    with pytest.raises(LlamaError, match=r"a context of 1024 tokens .* --ctx-size \d+ fits"):
        size_of(model)


def test_more_fits_where_the_cache_is_quantised(model: Model) -> None:
    usual = EngineConfig()
    small = EngineConfig(cache_type_k="q8_0", cache_type_v="q8_0")
    plain, quantised = (
        context_fit._measure(
            model, context_fit._params(model, config, n_ctx=256, is_unified=True)
        ).kv
        for config in (usual, small)
    )
    assert plain == pytest.approx(5 * 2 * 128 * 2, rel=0.02)  # layers, keys and values, of 16 bits
    assert quantised == pytest.approx(plain * 8.5 / 16, rel=0.02)


class TestOnAGPU:
    """The arithmetic for GPUs, which are made up: no GPU is needed, and none is used."""

    @pytest.fixture
    def offloaded(self, monkeypatch: pytest.MonkeyPatch) -> Model:
        """The built-in model as if a GPU had all its layers."""
        model = Model(BUILTIN_PATH)
        model.n_gpu_layers = model.n_layers + 1
        model.buffers = {"CUDA0": model.size}
        return model

    def places(self, model: Model, config: EngineConfig, n_ctx: int = 4096) -> list[Place]:
        cells = context_fit._CellSizes(kv=131072, state=0, layout=None)
        params = context_fit._params(model, config, n_ctx=n_ctx, is_unified=True)
        return context_fit._places(model, cells, params)

    def test_the_cache_is_where_the_layers_are(
        self, offloaded: Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(context_fit, "gpus", lambda: [Device("CUDA0", 20 * GIB, 24 * GIB)])
        gpu, host = self.places(offloaded, EngineConfig())
        assert (gpu.name, gpu.free, gpu.weights) == ("CUDA0", 20 * GIB, offloaded.size)
        assert gpu.cost.kv_per_token == 131072
        assert host.cost.kv_per_token < 131072 / 100
        assert host.cost.compute_per_token == host.weights == 0

    def test_the_cache_stays_on_the_host_on_demand(
        self, offloaded: Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(context_fit, "gpus", lambda: [Device("CUDA0", 20 * GIB, 24 * GIB)])
        gpu, host = self.places(offloaded, EngineConfig(kv_offload=False))
        assert gpu.cost.kv_per_token == gpu.cost.compute_per_token == 0
        assert host.cost.kv_per_token > 131072

    def test_some_layers_take_some_of_the_cache(
        self, offloaded: Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(context_fit, "gpus", lambda: [Device("CUDA0", 20 * GIB, 24 * GIB)])
        offloaded.n_gpu_layers = 3  # the output's, and two of five
        gpu, _ = self.places(offloaded, EngineConfig())
        assert gpu.cost.kv_per_token == 131072 * 2 / 5

    def test_several_gpus_count_together_unless_one_has_all(
        self, offloaded: Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        two = [Device("CUDA0", 20 * GIB, 24 * GIB), Device("CUDA1", 10 * GIB, 24 * GIB)]
        monkeypatch.setattr(context_fit, "gpus", lambda: two)
        assert self.places(offloaded, EngineConfig())[0].free == 30 * GIB
        offloaded.offload = Offload(split_mode="none", main_gpu=1)
        gpu = self.places(offloaded, EngineConfig())[0]
        assert (gpu.name, gpu.free) == ("CUDA1", 10 * GIB)

    def test_one_thread_looks_up_embeddings(self, offloaded: Model) -> None:
        offloaded.n_params = 8_000_000_000
        assert default_threads(offloaded) == 1


def test_a_cpu_build_finds_no_gpu_and_offloads_nothing(model: Model) -> None:
    assert gpus() == []
    assert model.n_gpu_layers == 0


def test_proportions_for_more_gpus_than_there_can_be_are_refused() -> None:
    with pytest.raises(LlamaError, match="--tensor-split is for 1000 GPUs"):
        Model(BUILTIN_PATH, offload=Offload(tensor_split=(1.0,) * 1000))
