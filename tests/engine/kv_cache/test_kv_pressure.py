"""Fewer KV cells than sequences want: everybody is served, and gets the text of an empty server."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest

from shared.engine.llama.context import Batch, Context
from shared.engine.llama.errors import LlamaError
from shared.engine.llama.model import Model
from tests.engine.conftest import LONG, EngineFactory, Result, chat, collect, one, request, run
from tests.sweeps import examples

ANIMALS = ("fox", "badger", "beaver", "bear")


@pytest.mark.slow
def test_prompts_that_were_cached_before_do_not_keep_each_other_from_running(
    model: Model, make_engine: EngineFactory
) -> None:
    """Cells that a finished owner shares with running ones are not free once it is evicted."""
    engine = make_engine(n_ctx=1024, n_parallel=4, kv_unified=True)
    prompts = [chat(model, f"{animal} " * 60) for animal in ANIMALS]
    for prompt in prompts:
        one(engine, request(prompt, 8, sampling=LONG))

    results = run(engine, *(request(prompt, 250, sampling=LONG) for prompt in prompts))

    assert [r.cost.completion_tokens for r in results] == [250] * 4


@pytest.mark.sweep(1)
@pytest.mark.parametrize("n_parallel", [2, 3, 8])
def test_random_workloads_in_a_tiny_context_all_end(
    model: Model, make_engine: EngineFactory, n_parallel: int
) -> None:
    """Whatever shares, is cancelled or scored: all get all of their tokens."""
    rng = random.Random(n_parallel)
    engine = make_engine(n_ctx=256 * n_parallel, n_parallel=n_parallel, n_batch=32)
    prefix = chat(model, "one two three four five " * 12)

    async def serve() -> list[Result]:
        prompt = prefix[: rng.randrange(1, 60)] + [rng.randrange(50, 90)] * rng.randrange(1, 60)
        scores = rng.random() < 0.3
        asked = replace(
            request(prompt, rng.choice([1, 9, 120]), sampling=LONG, n=rng.randrange(1, 4)),
            top_logprobs=0 if scores else None,
            prompt_logprobs=scores,
        )
        if rng.random() < 0.2:
            generation = engine.submit(asked)
            await generation.receive()
            generation.cancel()
            return []
        results = await collect(engine, asked, tenant=rng.choice("ab"))
        assert [r.cost.completion_tokens for r in results] == [asked.max_tokens] * asked.n
        return results

    async def scenario() -> None:
        await asyncio.gather(*(serve() for _ in range(examples(24))))

    asyncio.run(scenario())


def test_a_batch_that_fails_in_part_leaves_no_cells_behind(
    model: Model, make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama.cpp evaluates a batch in micro-batches and keeps those before the one that failed."""
    engine = make_engine(n_ubatch=32, n_batch=128, n_parallel=2)
    asked = request(chat(model, "What is the capital of France? " * 12))
    expected = one(make_engine(), asked)
    decode = Context.decode

    def fail_in_part(context: Context, batch: Batch) -> None:
        monkeypatch.undo()
        whole, batch.size = batch.size, 64
        decode(context, batch)
        batch.size = whole
        raise LlamaError("injected")

    monkeypatch.setattr(Context, "decode", fail_in_part)
    failed = one(engine, asked)
    again = one(engine, asked)

    assert failed.finish_reason == "error"
    assert (again.text, again.finish_reason) == (expected.text, expected.finish_reason)
    assert again.cost.cached_tokens == 0


def test_an_error_in_sampling_ends_the_batch_and_spares_the_engine(
    model: Model, make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine()
    asked = request(chat(model, "What is the capital of France?"))

    def fail(*_: object) -> None:
        monkeypatch.undo()
        raise IndexError("injected")

    monkeypatch.setattr("shared.engine.sampling.sampler.BatchSampler.sample", fail)

    assert one(engine, asked).finish_reason == "error"
    assert "Paris" in one(engine, asked).text
