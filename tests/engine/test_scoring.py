"""Log probabilities of the prompt itself: all of them, in one prefill, in both KV layouts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from shared.engine.llama.context import Batch, Context, ContextParams
from shared.engine.llama.model import Model
from shared.engine.llama.tokenizer import as_tokens
from tests.engine.conftest import EngineFactory, chat, one, request, run
from tests.rounding import LOGPROB_ROUNDING


def independent_logprobs(model: Model, prompt: list[int]) -> npt.NDArray[np.float64]:
    """A log-softmax of each row that llama.cpp gives for the prompt, in double precision."""
    params = ContextParams(
        n_ctx=512,
        n_batch=512,
        n_ubatch=512,
        n_seq_max=1,
        n_outputs_max=512,
        n_threads=1,
        n_threads_batch=1,
        kv_unified=True,
        flash_attn=None,
    )
    with Context(model, params) as context:
        batch = Batch(512)
        batch.add_chunk(as_tokens(prompt), 0, 0, outputs="all")
        context.decode(batch)
        logits = context.logits(len(prompt)).astype(np.float64)
    logprobs: npt.NDArray[np.float64] = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logprobs


@pytest.fixture(scope="module")
def prompt(model: Model) -> list[int]:
    return chat(model, "What is the capital of France?") + model.tokenize(
        "The capital of France is Paris. 🔥", add_special=False
    )


def test_prompt_logprobs_are_a_log_softmax_of_the_logits(
    make_engine: EngineFactory, model: Model, prompt: list[int]
) -> None:
    engine = make_engine()

    result = one(engine, request(prompt, 1, top_logprobs=3, prompt_logprobs=True))

    expected = independent_logprobs(model, prompt)
    assert result.prompt_logprobs[0] is None
    assert len(result.prompt_logprobs) == len(prompt)
    for position, entry in enumerate(result.prompt_logprobs[1:], start=1):
        assert entry is not None
        row = expected[position - 1]
        assert entry.sampled.token == prompt[position]
        assert entry.sampled.logprob == pytest.approx(row[prompt[position]], abs=LOGPROB_ROUNDING)
        assert [top.logprob for top in entry.top] == pytest.approx(
            np.sort(row)[::-1][:3].tolist(), abs=LOGPROB_ROUNDING
        )
    assert result.logprobs[0].sampled.logprob == pytest.approx(
        expected[-1].max(), abs=LOGPROB_ROUNDING
    )


def test_nothing_is_sampled_when_only_the_prompt_is_scored(
    make_engine: EngineFactory, prompt: list[int]
) -> None:
    result = one(make_engine(), request(prompt, 0, top_logprobs=0, prompt_logprobs=True))

    assert result.text == ""
    assert result.finish_reason == "length"
    assert result.cost.completion_tokens == 0
    assert len(result.prompt_logprobs) == len(prompt)


def test_a_token_that_ends_a_scored_sequence_has_an_entry(
    make_engine: EngineFactory, model: Model
) -> None:
    """Harnesses cut the entry of the one sampled token off, whatever it is."""
    question = chat(model, "What is the capital of France?")
    whole = question + model.tokenize("The capital of France is Paris.", add_special=False)

    result = one(make_engine(), request(whole, 1, top_logprobs=1, prompt_logprobs=True))

    assert result.finish_reason == "stop"
    assert len(result.prompt_logprobs) == len(whole)
    assert [entry.sampled.token for entry in result.logprobs] == [model.eos]


@pytest.mark.parametrize("n_batch", [8, 13, 512])
def test_scores_do_not_depend_on_how_the_prompt_is_cut_up(
    make_engine: EngineFactory, prompt: list[int], n_batch: int
) -> None:
    scoring = request(prompt, 0, top_logprobs=0, prompt_logprobs=True)
    whole = one(make_engine(), scoring).prompt_logprobs[1:]

    cut = one(make_engine(n_batch=n_batch, n_parallel=4), scoring).prompt_logprobs[1:]

    assert [e.sampled.logprob for e in cut if e] == pytest.approx(
        [e.sampled.logprob for e in whole if e], abs=LOGPROB_ROUNDING
    )


def test_scoring_takes_one_prefill(make_engine: EngineFactory, prompt: list[int]) -> None:
    engine = make_engine()
    one(engine, request(prompt, 4))  # leaves a prefix that must not be used
    before = engine.stats()
    steps, evaluated = before.steps, before.evaluated_tokens

    result = one(engine, request(prompt, 0, top_logprobs=1, prompt_logprobs=True))

    after = engine.stats()
    assert after.steps - steps == 1
    assert after.evaluated_tokens - evaluated == len(prompt)
    assert result.cost.cached_tokens == 0


def test_many_scored_prompts_beside_a_running_stream(
    make_engine: EngineFactory, model: Model, prompt: list[int]
) -> None:
    engine = make_engine(n_parallel=8, n_batch=32)
    stream = request(chat(model, "Count from 1 to 100"), 60)
    alone = one(engine, stream).text
    scored = [
        request(prompt[:length], 0, top_logprobs=0, prompt_logprobs=True)
        for length in (1, 2, 5, 11, len(prompt))
    ]

    results = run(engine, stream, *scored)

    assert results[0].text == alone
    longest = [e.sampled.logprob for e in results[-1].prompt_logprobs if e]
    for result, asked in zip(results[1:], scored, strict=True):
        logprobs = [e.sampled.logprob for e in result.prompt_logprobs if e]
        assert logprobs == pytest.approx(longest[: len(asked.prompt) - 1], abs=LOGPROB_ROUNDING)


def test_the_first_of_several_choices_brings_the_scores(
    make_engine: EngineFactory, prompt: list[int]
) -> None:
    first, second = run(
        make_engine(), request(prompt, 4, n=2, top_logprobs=0, prompt_logprobs=True)
    )

    assert len(first.prompt_logprobs) == len(prompt)
    assert second.prompt_logprobs == []
    assert first.text == second.text


def test_a_scored_prompt_is_preempted_and_scored_again(
    make_engine: EngineFactory, model: Model, prompt: list[int]
) -> None:
    engine = make_engine(n_ctx=256, n_parallel=3, n_batch=16, kv_unified=True)
    greedy = [request(chat(model, f"Count from {i} to 100"), 80) for i in (1, 2)]

    results = run(engine, *greedy, request(prompt, 0, top_logprobs=0, prompt_logprobs=True))

    assert len(results[-1].prompt_logprobs) == len(prompt)


def test_a_prompt_may_fill_the_context_when_nothing_is_sampled(
    make_engine: EngineFactory, prompt: list[int]
) -> None:
    engine = make_engine(n_ctx=512, n_parallel=2, kv_unified=False)
    full = (prompt * 10)[: engine.n_ctx]

    result = one(engine, request(full, 0, top_logprobs=0, prompt_logprobs=True))

    assert len(result.prompt_logprobs) == engine.n_ctx


def test_an_uncached_prompt_is_evaluated_anew(
    make_engine: EngineFactory, prompt: list[int]
) -> None:
    engine = make_engine()
    long = prompt * 2
    one(engine, request(long, 4))

    again = one(engine, request(long, 4))
    anew = one(engine, request(long, 4, cache_prompt=False))

    assert again.cost.cached_tokens > 0
    assert anew.cost.cached_tokens == 0
    assert anew.text == again.text


def test_progress_is_reported_for_each_chunk_of_the_prompt(
    make_engine: EngineFactory, prompt: list[int]
) -> None:
    engine = make_engine(n_batch=16, n_parallel=2)

    result = one(engine, request(prompt, 2, return_progress=True))

    processed = [p.processed for p in result.progress]
    assert processed == [min(16 * i, len(prompt)) for i in range(len(processed))]
    assert processed[-1] == len(prompt)
    assert {p.total for p in result.progress} == {len(prompt)}


def test_outputs_carry_tokens_and_usage_when_asked(
    make_engine: EngineFactory, model: Model
) -> None:
    asked = request(
        chat(model, "What is the capital of France?"), return_tokens=True, usage_per_output=True
    )

    result = one(make_engine(), asked)

    text = b"".join(model.render(token, special=False) for token in result.tokens).decode()
    assert text == result.text == "The capital of France is Paris."
    assert len(result.tokens) == result.cost.completion_tokens
    assert result.usages[0].completion_tokens == 1
    assert result.usages[-1] == result.cost
