"""Multi-step decoding: answers and counts are those of one step a turn, whatever happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.engine import multi_step
from shared.engine.config import EngineConfig
from shared.engine.grammar.constraint import Constraint
from shared.engine.llama.context import Batch, Context, KVCacheFullError, LogitsArray
from shared.engine.llama.errors import LlamaError, NoNumbersError
from shared.engine.llama.model import Model
from shared.engine.sampling.sampler import BatchSampler, Sampler
from shared.engine.scheduler import Scheduler
from shared.engine.types import GenerationRequest, SamplingParams
from tests.engine.conftest import (
    CheckedEngine,
    EngineFactory,
    Result,
    chat,
    one,
    request,
    run,
)
from tests.engine.exact_context import ExactContext, exact_contexts
from tests.engine.speculation.speculation_cases import (
    CASES,
    SETUPS,
    Case,
    Setup,
    requests_of,
    shown,
)
from tests.engine.speculation.test_speculation import constraints, favourites, served
from tests.sweeps import examples

__all__ = ["constraints", "favourites"]  # fixtures

HOUR = 3600.0
ENDLESS = SamplingParams(seed=7, temperature=1.0, ignore_eos=True)


@pytest.fixture
def any_number_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a turn go on until something ends it, however long steps take."""
    monkeypatch.setattr(multi_step, "TURN_SECONDS", HOUR)


def count_turns(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that gets an element for each plan."""
    turns: list[int] = []
    schedule = Scheduler.schedule

    def counted(scheduler: Scheduler, n_prompt: int | None = None) -> object:
        turns.append(1)
        return schedule(scheduler, n_prompt)

    monkeypatch.setattr(Scheduler, "schedule", counted)
    return turns


@pytest.mark.slow
@settings(
    derandomize=True,
    deadline=None,
    max_examples=examples(150),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(cases=st.lists(CASES, min_size=1, max_size=3), setup=SETUPS)
def test_answers_are_those_of_single_steps(
    model: Model,
    constraints: dict[str | None, Constraint | None],
    favourites: list[int],
    cases: list[Case],
    setup: Setup,
) -> None:
    requests = requests_of(cases, model, constraints)
    found: list[list[Result]] = []
    counts = []
    for seconds in (0.0, HOUR):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(multi_step, "TURN_SECONDS", seconds)
            patch.setattr("shared.engine.engine.new_context", exact_contexts(favourites))
            engine = CheckedEngine(model, setup.config)
            found.append(served(engine, *([each] for each in requests), requests))
        stats = engine.stats()
        counts.append((stats.completion_tokens, stats.prompt_tokens))
    single, multi = found
    assert [shown(each) for each in multi] == [shown(each) for each in single]
    assert counts[0] == counts[1]
    dropped = [each.cost.dropped_tokens for each in single]
    assert [each.cost.dropped_tokens for each in multi] == dropped


@pytest.mark.usefixtures("any_number_of_steps")
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"sampling": ENDLESS},
        {"sampling": replace(ENDLESS, top_p=0.9, presence_penalty=0.5)},
        {"sampling": ENDLESS, "return_tokens": True, "usage_per_output": True},
    ],
)
def test_an_answer_takes_few_turns(
    model: Model,
    make_engine: EngineFactory,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, object],
) -> None:
    asked = request(chat(model, "Count from 1 to 100"), 60, **fields)
    engine = make_engine(n_parallel=2)
    turns = count_turns(monkeypatch)
    found = one(engine, asked)
    assert len(turns) <= 4
    assert found.cost.completion_tokens == 60
    assert found.finish_reason == "length"
    stats = engine.stats()
    assert (stats.completion_tokens, stats.steps) == (60, 60)
    monkeypatch.setattr(multi_step, "TURN_SECONDS", 0.0)
    alone = one(engine, asked)
    assert (found.text, found.tokens) == (alone.text, alone.tokens)
    assert len(turns) > 60


@pytest.mark.usefixtures("any_number_of_steps")
def test_several_sequences_go_on_together(
    model: Model, make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until one of them ends, which the others survive."""
    prompt = chat(model, "Count from 1 to 100")
    requests = [request(prompt, n_tokens) for n_tokens in (20, 40, 60)]
    engine = make_engine(n_parallel=4)
    alone = [one(engine, each) for each in requests]
    turns = count_turns(monkeypatch)
    together = run(engine, *requests)
    assert [(r.text, r.cost.completion_tokens) for r in together] == [
        (r.text, n) for r, n in zip(alone, (20, 40, 60), strict=True)
    ]
    assert engine.stats().completion_tokens == 2 * (20 + 40 + 60)
    assert len(turns) <= 12  # some for requests that come one after the other


@pytest.mark.usefixtures("any_number_of_steps")
def test_whoever_waits_for_a_place_shortens_no_turn(
    model: Model, make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [request(chat(model, "Count from 1 to 100"), 60) for _ in range(4)]
    engine = make_engine(n_parallel=1)
    turns = count_turns(monkeypatch)
    found = run(engine, *requests)
    assert [each.cost.completion_tokens for each in found] == [60] * 4
    assert len(turns) <= 20


@pytest.mark.usefixtures("any_number_of_steps")
def test_a_turn_ends_with_the_sequence(
    model: Model, make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(n_parallel=2)
    turns = count_turns(monkeypatch)
    found = one(engine, request(chat(model, "What is the capital of France?"), 60))
    assert (found.text, found.finish_reason) == ("The capital of France is Paris.", "stop")
    assert len(turns) <= 4


@pytest.mark.usefixtures("any_number_of_steps")
@pytest.mark.parametrize(
    "fields", [{"stop": ("3",)}, {"top_logprobs": 1}], ids=["stop", "logprobs"]
)
def test_what_needs_more_than_tokens_has_single_steps(
    model: Model,
    make_engine: EngineFactory,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, object],
) -> None:
    engine = make_engine(n_parallel=2)
    evaluated: list[int] = []
    monkeypatch.setattr(multi_step.MultiStep, "evaluate", lambda *_: evaluated.append(1))
    found = one(engine, request(chat(model, "Count from 1 to 5"), 60, **fields))
    assert found.finish_reason == "stop"
    assert not evaluated


def during_decode(
    monkeypatch: pytest.MonkeyPatch, n: int, action: Callable[[], None], *, first: bool = False
) -> list[int]:
    """Have ``action`` called with decode number ``n``: behind it, or ``first`` before it."""
    decoded: list[int] = []
    decode = Context.decode

    def counted(context: Context, batch: Batch) -> None:
        decoded.append(batch.size)
        if first and len(decoded) == n:
            action()
        decode(context, batch)
        if not first and len(decoded) == n:
            action()

    monkeypatch.setattr(Context, "decode", counted)
    return decoded


@pytest.mark.usefixtures("any_number_of_steps")
def test_a_caller_ends_a_turn(
    model: Model, make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(n_parallel=2)
    decoded = during_decode(monkeypatch, 10, engine.abort)
    found = one(engine, request(chat(model, "Hi"), 200, sampling=ENDLESS, return_tokens=True))
    assert found.finish_reason == "cancelled"
    assert len(decoded) == len(found.tokens) == 10


@pytest.mark.usefixtures("any_number_of_steps")
@pytest.mark.parametrize("error", [KVCacheFullError("injected"), LlamaError("injected")])
@pytest.mark.parametrize("first", [True, False], ids=["before", "behind"])
def test_a_step_that_fails_is_made_again(
    model: Model,
    make_engine: EngineFactory,
    monkeypatch: pytest.MonkeyPatch,
    error: LlamaError,
    first: bool,
) -> None:
    """Whether llama.cpp had cells for the token or not."""

    def fail() -> None:
        raise error

    engine = make_engine(n_parallel=2)
    asked = request(chat(model, "Count from 1 to 100"), 40, sampling=ENDLESS)
    expected = one(engine, asked)
    decoded = during_decode(monkeypatch, 10, fail, first=first)
    found = one(engine, asked)
    assert (found.text, found.finish_reason) == (expected.text, "length")
    assert found.cost.completion_tokens == 40
    assert len(decoded) == 41


@pytest.mark.usefixtures("any_number_of_steps")
def test_what_was_sampled_before_a_failure_is_delivered(
    model: Model, make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled: list[int] = []
    sample_one = BatchSampler.sample_one

    def fail_later(sampler: BatchSampler, logits: LogitsArray, one_of: Sampler) -> int:
        sampled.append(1)
        if len(sampled) > 9:
            raise NoNumbersError
        return sample_one(sampler, logits, one_of)

    engine = make_engine(n_parallel=2)
    asked = request(chat(model, "Count from 1 to 100"), 40, return_tokens=True)
    expected = one(engine, asked)
    monkeypatch.setattr(BatchSampler, "sample_one", fail_later)
    found = one(engine, asked)
    assert found.finish_reason == "error"
    assert found.tokens == expected.tokens[:9]


@pytest.mark.usefixtures("any_number_of_steps")
def test_a_deadline_within_a_turn_allows_no_such_turn(
    model: Model, make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated: list[int] = []
    monkeypatch.setattr(multi_step.MultiStep, "evaluate", lambda *_: evaluated.append(1))
    engine = make_engine(n_parallel=2)
    in_a_minute = time.monotonic() + 60
    found = one(engine, request(chat(model, "Who are you?"), 30, deadline=in_a_minute))
    assert found.finish_reason in ("stop", "length")
    assert not evaluated


@pytest.mark.usefixtures("any_number_of_steps")
def test_a_turn_takes_no_cells_that_others_hold(
    model: Model, favourites: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pool: what finished sequences keep is given up before a step finds no cells."""
    monkeypatch.setattr("shared.engine.engine.new_context", exact_contexts(favourites))
    full: list[Batch] = []
    decode = ExactContext.decode

    def noted(context: ExactContext, batch: Batch) -> None:
        try:
            decode(context, batch)
        except KVCacheFullError:
            full.append(batch)
            raise

    monkeypatch.setattr(ExactContext, "decode", noted)
    sampling = replace(ENDLESS, temperature=0)
    asked = [
        GenerationRequest(prompt=[*favourites[:4], each], max_tokens=60, sampling=sampling)
        for each in favourites[:4]
    ]
    config = EngineConfig(n_ctx=100, n_parallel=2, n_batch=32, kv_unified=True)
    found = served(CheckedEngine(model, config), *([each] for each in asked))
    assert [each.cost.completion_tokens for each in found] == [60] * 4
    assert not full


@pytest.mark.usefixtures("any_number_of_steps")
@pytest.mark.parametrize("returns_tokens", [False, True])
@pytest.mark.parametrize("n_prompt", [8, 50])
def test_an_answer_of_several_steps_is_found_again(
    make_engine: EngineFactory, model: Model, n_prompt: int, returns_tokens: bool
) -> None:
    """Its tokens are noted one by one next to a short prompt's, else all at once."""
    prompt = chat(model, "What is the capital of France? " * 9)[:n_prompt]
    asked = request(prompt, 40, sampling=ENDLESS, return_tokens=returns_tokens)
    engine = make_engine()
    answer = one(engine, asked)
    tokens = answer.tokens or one(make_engine(), replace(asked, return_tokens=True)).tokens
    assert len(prompt) == n_prompt
    assert len(tokens) == 40

    again = one(engine, request([*prompt, *tokens, *prompt], 1))

    assert again.usage is not None
    assert again.usage.cached_tokens == n_prompt + 39  # the last one was not evaluated
