"""Context shift: completions that go on when the context is full."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.engine.config import EngineConfig
from shared.engine.context_window import ContextWindow
from shared.engine.llama.model import Model
from shared.engine.llama.tokenizer import as_tokens
from shared.engine.scheduler import Scheduler
from shared.engine.speculation.options import SpeculationOptions
from shared.engine.types import GenerationRequest, SamplingParams
from tests.engine.cells import Cells
from tests.engine.conftest import (
    CheckedEngine,
    EngineFactory,
    Result,
    chat,
    collect,
    one,
    request,
    run,
)
from tests.engine.exact_context import exact_contexts
from tests.sweeps import examples

GOES_ON = SamplingParams(seed=0, temperature=0, ignore_eos=True)


def shifted(n_ctx: int, tokens: Sequence[int], **fields: int) -> tuple[list[int], int]:
    """What stays of ``tokens``, the first five of which are the prompt."""
    window = ContextWindow(n_ctx, shifts=True)
    rest, n_kept = window.shift(as_tokens(tokens), request(list(tokens[:5]), **fields))
    return rest.tolist(), n_kept


class TestWindow:
    """What stays, and how long completions may be."""

    def test_the_prompt_and_half_of_the_rest_stay(self) -> None:
        assert shifted(17, range(17)) == ([*range(5), *range(11, 17)], 5)

    def test_requests_say_how_much_is_kept(self) -> None:
        assert shifted(17, range(17), n_keep=1) == ([0, *range(9, 17)], 1)
        assert shifted(17, range(17), n_keep=0) == ([*range(8, 17)], 0)

    def test_requests_say_how_much_is_dropped_at_least(self) -> None:
        assert shifted(17, range(17), n_discard=9) == ([*range(5), *range(14, 17)], 5)
        assert shifted(17, range(17), n_discard=1) == shifted(17, range(17))

    def test_at_least_a_token_is_left_to_evaluate(self) -> None:
        assert shifted(17, range(17), n_discard=2**31 - 1) == ([*range(5), 16], 5)

    def test_no_more_than_half_of_the_context_is_kept(self) -> None:
        assert shifted(16, range(16), n_keep=2**31 - 1) == ([*range(8), *range(12, 16)], 8)

    def test_completions_end_with_the_context_unless_it_is_shifted(self) -> None:
        long = request([1] * 5, max_tokens=100)
        assert ContextWindow(17).most(long) == 12
        assert ContextWindow(17, shifts=True).most(long) == 100

    def test_the_servers_limit_may_be_above_the_context_where_it_is_shifted(self) -> None:
        assert [ContextWindow(17).limit(n) for n in (0, 5, 100)] == [17, 5, 17]
        assert [ContextWindow(17, shifts=True).limit(n) for n in (0, 5, 100)] == [17, 5, 100]


def test_a_completion_goes_on_when_the_context_is_full(
    model: Model, make_engine: EngineFactory
) -> None:
    engine = make_engine(n_parallel=1, n_ctx=256, context_shift=True)
    prompt = chat(model, "Count.")
    result = one(engine, request(prompt, 520, sampling=GOES_ON, return_progress=True))
    assert result.finish_reason == "length"
    usage = result.cost
    assert (usage.prompt_tokens, usage.completion_tokens) == (len(prompt), 520)
    n_shifts = engine.stats().context_shifts
    assert n_shifts >= 2
    assert len(prompt) + 520 - usage.dropped_tokens <= 256
    assert {progress.total for progress in result.progress} == {len(prompt)}
    assert max(progress.processed for progress in result.progress) == len(prompt)


def test_cells_that_a_shift_frees_are_for_whoever_waits(
    model: Model, make_engine: EngineFactory
) -> None:
    engine = make_engine(n_parallel=2, n_ctx=512, kv_unified=True, context_shift=True)
    endless = request(chat(model, "Count."), 2**20, sampling=GOES_ON)
    waiting = request(list(range(20, 140)), 4)

    async def scenario() -> list[Result]:
        running = engine.submit(endless)
        while (await running.receive())[-1].n_sampled < 400:
            pass
        answering = asyncio.create_task(collect(engine, waiting))
        while not answering.done() and (await running.receive())[-1].n_sampled < 5000:
            pass
        is_answered = answering.done()
        running.cancel()
        return await answering if is_answered else []

    assert [answer.cost.completion_tokens for answer in asyncio.run(scenario())] == [4]


def test_a_full_context_ends_a_completion_where_nothing_is_said(
    model: Model, make_engine: EngineFactory
) -> None:
    engine = make_engine(n_parallel=1, n_ctx=256)
    prompt = chat(model, "Count.")
    usage = one(engine, request(prompt, 520, sampling=GOES_ON)).cost
    assert usage.prompt_tokens + usage.completion_tokens == 256
    assert (usage.dropped_tokens, engine.stats().context_shifts) == (0, 0)


def test_a_prompt_that_fills_the_context_can_be_evaluated(
    model: Model, make_engine: EngineFactory
) -> None:
    engine = make_engine(n_parallel=1, n_ctx=256, context_shift=True)
    prompt = model.tokenize("a b c " * 200)[:256]
    assert one(engine, request(prompt, 0)).finish_reason == "length"
    result = one(engine, request(prompt[:255], 3, sampling=GOES_ON))
    assert result.cost.completion_tokens == 3


@pytest.fixture(scope="module")
def favourites(model: Model) -> list[int]:
    words = [" a", " b", "x", "1", ",", "\n"]
    return sorted({model.tokenize(word, add_special=False)[0] for word in words})


REQUESTS = st.builds(
    dict[str, Any],
    n_prompt=st.integers(1, 40),
    max_tokens=st.integers(1, 160),
    n=st.integers(1, 2),
    n_keep=st.sampled_from([-1, 0, 3, 2**31 - 1]),
    n_discard=st.sampled_from([0, 1, 15]),
    seed=st.integers(0, 3),
    penalty=st.sampled_from([0.0, 0.5]),
    scores=st.booleans(),
    predicts=st.booleans(),
)


def requests_of(cases: list[dict[str, Any]], favourites: list[int]) -> list[GenerationRequest]:
    return [
        GenerationRequest(
            prompt=(favourites * 40)[: case["n_prompt"]],
            max_tokens=case["max_tokens"],
            n=case["n"],
            n_keep=case["n_keep"],
            n_discard=case["n_discard"],
            sampling=SamplingParams(
                seed=case["seed"], ignore_eos=True, frequency_penalty=case["penalty"]
            ),
            return_tokens=True,
            top_logprobs=1 if case["scores"] else None,
            prompt_logprobs=case["scores"],
            prediction=tuple(favourites) * 9 if case["predicts"] else (),
        )
        for case in cases
    ]


def served(
    model: Model, config: EngineConfig, requests: list[GenerationRequest]
) -> list[tuple[object, ...]]:
    engine = CheckedEngine(model, config)
    engine.start()
    results = run(engine, *requests, *requests)
    engine.stop()
    if engine.integrity_error is not None:
        raise engine.integrity_error
    return [shown(result) for result in results]


def shown(result: Result) -> tuple[object, ...]:
    """All that must not depend on the context's size."""
    return (
        *(result.text, result.tokens, result.finish_reason, result.error),
        *(result.logprobs, result.prompt_logprobs),
        *(result.cost.prompt_tokens, result.cost.completion_tokens),
    )


@pytest.mark.slow
@settings(
    derandomize=True,
    deadline=None,
    max_examples=examples(200),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    cases=st.lists(REQUESTS, min_size=1, max_size=4),
    n_parallel=st.integers(1, 3),
    is_unified=st.booleans(),
    n_cells=st.sampled_from([42, 50, 64]),
    n_batch=st.sampled_from([8, 32]),
    admits_all=st.booleans(),
    drafts=st.booleans(),
)
def test_answers_are_those_of_a_larger_context(
    model: Model,
    favourites: list[int],
    cases: list[dict[str, Any]],
    n_parallel: int,
    is_unified: bool,
    n_cells: int,
    n_batch: int,
    admits_all: bool,
    drafts: bool,
) -> None:
    """Where logits depend on the last two tokens alone, which always stay."""
    requests = requests_of(cases, favourites)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shared.engine.engine.new_context", exact_contexts(favourites))
        large = EngineConfig(
            n_ctx=400 * n_parallel, n_parallel=n_parallel, n_batch=n_batch, kv_unified=False
        )
        expected = served(model, large, requests)
        if admits_all:
            patch.setattr(Scheduler, "_likely_fits", lambda *_: True)
        small = EngineConfig(
            n_ctx=n_cells if is_unified else n_cells * n_parallel,
            n_parallel=n_parallel,
            n_batch=n_batch,
            kv_unified=is_unified,
            context_shift=True,
            speculation=SpeculationOptions(n_max=6) if drafts else None,
        )
        found = served(model, small, requests)
    assert found == expected


@pytest.mark.parametrize("can_cut", [True, False], ids=["attention", "recurrent"])
def test_the_tokens_that_stay_are_those_that_are_evaluated(
    model: Model,
    favourites: list[int],
    monkeypatch: pytest.MonkeyPatch,
    can_cut: bool,
) -> None:
    monkeypatch.setattr("shared.engine.engine.new_context", exact_contexts(favourites))
    config = EngineConfig(n_ctx=40, n_parallel=1, n_batch=32, kv_unified=False, context_shift=True)
    prompt = favourites + favourites[::-1]
    asked = request(prompt, 100, sampling=GOES_ON, return_tokens=True)
    engine = CheckedEngine(model, config)
    engine._kv.can_cut = can_cut
    memory: Any = engine._context
    assert isinstance(memory, Cells)
    engine.start()
    answer = one(engine, asked)
    engine.stop()

    window, known, n_dropped = ContextWindow(40, shifts=True), list(prompt), 0
    for token in answer.tokens:
        known.append(token)
        if len(known) == 40:
            known = window.shift(as_tokens(known), asked)[0].tolist()
            n_dropped += 40 - len(known)
    (cells,) = [row for row in memory.rows.values() if row]
    assert list(cells[-1].prefix) == known[:-1]
    assert answer.cost.dropped_tokens == n_dropped
