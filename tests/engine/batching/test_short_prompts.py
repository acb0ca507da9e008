"""Short prompts in shares of KV cells: batches of their own, sampled from together."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shared.engine.batching.plan import Plan
from shared.engine.llama.context import Batch, Context, KVCacheFullError, LogitsArray
from shared.engine.llama.errors import LlamaError
from shared.engine.llama.model import Model
from shared.engine.sampling.sampler import BatchSampler
from tests.engine.conftest import EngineFactory, chat, collect, one, request
from tests.engine.test_batching import QUESTIONS


@pytest.fixture
def any_prompt_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is."""
    monkeypatch.setattr("shared.engine.batching.prompt_groups._SHORT_SECONDS", 3600)
    monkeypatch.setattr("shared.engine.batching.prompt_groups._TOGETHER_SECONDS", 3600)


@pytest.mark.parametrize(
    ("lengths", "n_short", "n_together", "expected"),
    [
        ([5, 6, 7], 0, 0, [[5], [6], [7]]),
        ([5, 6, 7], 7, 100, [[5, 6, 7]]),
        ([5, 6, 7], 7, 11, [[5, 6], [7]]),
        ([5, 60, 6, 7], 7, 100, [[5], [60], [6, 7]]),
        ([60, 70], 7, 100, [[60], [70]]),
        ([5], 7, 3, [[5]]),
    ],
)
def test_only_short_chunks_come_together_and_only_so_many(
    lengths: list[int], n_short: int, n_together: int, expected: list[list[int]]
) -> None:
    chunks: list[Any] = [(object(), n_tokens) for n_tokens in lengths]

    parts = list(Plan(chunks=chunks).parts(n_short, n_together))

    assert [[n_tokens for _, n_tokens in part.chunks] for part in parts] == expected
    assert [chunk for part in parts for chunk in part.chunks] == chunks


@pytest.mark.usefixtures("any_prompt_is_short")
def test_prompts_that_arrive_together_are_sampled_from_at_once_and_give_what_they_give_alone(
    model: Model, make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(kv_unified=False)
    prompts = [chat(model, question) for question in QUESTIONS[:4]]
    alone = [one(engine, request(prompt, 8, cache_prompt=False)) for prompt in prompts]
    evaluated: list[int] = []
    sampled: list[int] = []
    decode, sample = Context.decode, BatchSampler.sample

    def note_decode(context: Context, batch: Batch) -> None:
        evaluated.append(batch.size)
        decode(context, batch)

    def note_sample(sampler: BatchSampler, logits: LogitsArray, *rest: Any) -> list[int]:
        sampled.append(len(logits))
        return sample(sampler, logits, *rest)

    monkeypatch.setattr(Context, "decode", note_decode)
    monkeypatch.setattr(BatchSampler, "sample", note_sample)
    requests = [request(prompt, 8, cache_prompt=False) for prompt in prompts]
    together = asyncio.run(collect(engine, *requests))

    assert evaluated[:4] == [len(prompt) for prompt in prompts]
    assert sampled[0] == 4
    assert [r.text for r in together] == [r.text for r in alone]


@pytest.mark.usefixtures("any_prompt_is_short")
def test_a_scored_prompt_among_others_has_the_log_probabilities_that_it_has_alone(
    model: Model, make_engine: EngineFactory
) -> None:
    engine = make_engine(kv_unified=False)
    prompts = [chat(model, question) for question in QUESTIONS[:3]]
    scored = request(prompts[1], 1, top_logprobs=0, prompt_logprobs=True)
    alone = one(engine, scored)

    _, among, _ = asyncio.run(
        collect(engine, request(prompts[0], 1), scored, request(prompts[2], 1))
    )

    assert among.prompt_logprobs == alone.prompt_logprobs


@pytest.mark.usefixtures("any_prompt_is_short")
@pytest.mark.parametrize("error", [LlamaError("injected"), KVCacheFullError("injected")])
@pytest.mark.parametrize("n_before", [0, 2])
def test_a_prompt_that_fails_among_others_leaves_nobody_waiting(
    model: Model,
    make_engine: EngineFactory,
    monkeypatch: pytest.MonkeyPatch,
    error: LlamaError,
    n_before: int,
) -> None:
    """Prompts before it are evaluated, but nothing will ever be sampled from them."""
    engine = make_engine(kv_unified=False)
    prompts = [chat(model, question) for question in QUESTIONS[:4]]
    expected = one(engine, request(prompts[0]))
    decode = Context.decode
    n_decodes = 0

    def fail_once(context: Context, batch: Batch) -> None:
        nonlocal n_decodes
        n_decodes += 1
        if n_decodes == n_before + 1:
            raise error
        decode(context, batch)

    monkeypatch.setattr(Context, "decode", fail_once)
    results = asyncio.run(collect(engine, *(request(prompt, 4) for prompt in prompts)))

    assert all(r.finish_reason in ("error", "length") for r in results)
    assert one(engine, request(prompts[0])).text == expected.text
