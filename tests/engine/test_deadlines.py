"""Deadlines: whatever a request is at when its moment comes, it ends with what there is.

The engine looks at the clock once before every step, if not several are one turn. These tests give it a clock that jumps past
the deadline at a step of their choice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest

from shared.engine import multi_step
from shared.engine.engine import Engine
from shared.engine.grammar.compiler import ConstraintCompiler
from shared.engine.grammar.grammar import grammar
from shared.engine.llama.model import Model
from tests.engine.conftest import (
    GREEDY,
    LONG,
    EngineFactory,
    Result,
    chat,
    collect,
    one,
    request,
    run,
)

DEADLINE = 100.0

SetClock = Callable[[Callable[[], float]], None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Sets the clock by which the engine knows that a deadline has come."""

    def set_to(clock: Callable[[], float]) -> None:
        monkeypatch.setattr(multi_step, "TURN_SECONDS", 0.0)  # else it looks once for several
        monkeypatch.setattr("shared.engine.step_loop.time", SimpleNamespace(monotonic=clock))

    return set_to


def jump_after(n_steps: int) -> Callable[[], float]:
    """A clock that passes the deadline when the engine has made ``n_steps`` steps."""
    looks = 0

    def now() -> float:
        nonlocal looks
        looks += 1
        return DEADLINE if looks > n_steps else 0.0

    return now


def served_after(engine: Engine, model: Model) -> str:
    """What the engine answers to a question of everyday."""
    return one(engine, request(chat(model, "What is the capital of France?"))).text


def assert_cut(result: Result, n_tokens: int) -> None:
    """The deadline ended it after ``n_tokens`` sampled tokens."""
    assert (result.finish_reason, result.reached_deadline) == ("length", True)
    assert result.cost.completion_tokens == n_tokens


def test_a_running_request_gives_the_tokens_that_it_has(
    model: Model, make_engine: EngineFactory, set_clock: SetClock
) -> None:
    engine = make_engine()
    story = request(chat(model, "Tell me a story"), 30, sampling=LONG)
    whole = one(engine, replace(story, return_tokens=True))

    set_clock(jump_after(12))
    cut = one(make_engine(), replace(story, deadline=DEADLINE, return_tokens=True))

    assert_cut(cut, 12)
    assert cut.tokens == whole.tokens[:12]
    assert whole.text.startswith(cut.text)


@pytest.mark.parametrize("max_tokens", [1, 2000])
def test_a_deadline_in_the_past_gives_an_empty_answer_without_a_step(
    model: Model, make_engine: EngineFactory, max_tokens: int
) -> None:
    engine = make_engine()

    result = one(engine, request(chat(model, "Hi"), max_tokens, deadline=0.0, stop=("x",)))

    assert_cut(result, 0)
    assert result.text == ""
    assert engine.stats().steps == 0
    assert "Paris" in served_after(engine, model)


def test_a_prompt_is_left_between_its_chunks_and_can_be_asked_again(
    model: Model, make_engine: EngineFactory, set_clock: SetClock
) -> None:
    engine = make_engine(n_batch=32, n_parallel=2)
    prompt = request(model.tokenize("one two three four " * 40)[:150], 8)
    expected = one(make_engine(), prompt).text

    set_clock(jump_after(2))
    cut = one(engine, replace(prompt, deadline=DEADLINE, return_progress=True))
    again = one(engine, prompt)

    assert_cut(cut, 0)
    assert [progress.processed for progress in cut.progress] == [0, 32, 64]
    assert again.text == expected


def test_an_unfinished_score_of_a_prompt_is_delivered(
    model: Model, make_engine: EngineFactory, set_clock: SetClock
) -> None:
    engine = make_engine(n_batch=32, n_parallel=2)
    prompt = model.tokenize("one two three four " * 40)[:150]
    scored = request(prompt, 0, top_logprobs=0, prompt_logprobs=True)

    set_clock(jump_after(2))
    cut = one(engine, replace(scored, deadline=DEADLINE))

    assert_cut(cut, 0)
    scored_tokens = [entry.sampled.token for entry in cut.prompt_logprobs if entry]
    assert scored_tokens == prompt[1:65]  # the second batch foretells the third one's first token


def test_all_choices_of_all_prompts_end(
    model: Model, make_engine: EngineFactory, set_clock: SetClock
) -> None:
    engine = make_engine(n_parallel=4)
    stories = [
        request(chat(model, f"Tell me story {i}"), 2000, sampling=LONG, n=3, deadline=DEADLINE)
        for i in range(3)
    ]

    set_clock(jump_after(20))
    results = asyncio.run(collect(engine, *stories))

    assert [(r.finish_reason, r.reached_deadline) for r in results] == [("length", True)] * 9
    lengths = [result.cost.completion_tokens for result in results]
    assert lengths[0] > 0  # it ran
    assert lengths[-1] == 0  # it waited for a place
    stats = engine.stats()
    assert (stats.sequences_running, stats.sequences_waiting, stats.requests_queued) == (0, 0, 0)


@pytest.mark.slow
def test_a_preempted_request_gives_the_tokens_that_it_had(
    model: Model, make_engine: EngineFactory, set_clock: SetClock
) -> None:
    engine = make_engine(n_ctx=512, n_parallel=2, kv_unified=True)
    long = request(chat(model, "Tell me a story"), 400, sampling=LONG)
    late = request(chat(model, "Count from 1 to 100"), 400, sampling=LONG, deadline=DEADLINE)

    set_clock(lambda: DEADLINE if engine.stats().preemptions else 0.0)
    undisturbed, preempted = run(engine, long, late)

    assert engine.stats().preemptions == 1
    assert (preempted.finish_reason, preempted.reached_deadline) == ("length", True)
    assert 0 < preempted.cost.completion_tokens < 400
    assert preempted.text.startswith("1, 2, 3")
    assert (undisturbed.cost.completion_tokens, undisturbed.reached_deadline) == (400, False)


@pytest.mark.slow
def test_a_request_that_waits_ends_while_others_without_a_deadline_go_on(
    model: Model, make_engine: EngineFactory
) -> None:
    engine = make_engine(n_parallel=1)
    long = request(chat(model, "Tell me a story"), 200, sampling=LONG)

    running, late = run(engine, long, replace(long, deadline=0.0))

    assert_cut(late, 0)
    assert (running.cost.completion_tokens, running.reached_deadline) == (200, False)


def test_a_grammar_is_cut_off(
    model: Model, make_engine: EngineFactory, set_clock: SetClock
) -> None:
    constraint = ConstraintCompiler(model).compile(grammar("regex", "[a-z]{100}"))
    letters = request(chat(model, "Hi"), 200, sampling=GREEDY, constraint=constraint)

    set_clock(jump_after(5))
    result = one(make_engine(), replace(letters, deadline=DEADLINE))

    assert_cut(result, 5)


def test_other_ends_are_not_put_down_to_the_deadline(
    model: Model, make_engine: EngineFactory
) -> None:
    engine = make_engine(n_ctx=256, n_parallel=1)
    far = request(chat(model, "What is the capital of France?"), deadline=float("inf"))
    filling = request(model.tokenize("a b c " * 100)[:200], 1000, deadline=float("inf"))

    ended = one(engine, far)
    limited = one(engine, replace(far, max_tokens=1))
    full = one(engine, replace(filling, sampling=LONG))

    results = (ended, limited, full)
    assert [r.finish_reason for r in results] == ["stop", "length", "length"]
    assert not any(r.reached_deadline for r in results)


def test_a_prompt_comes_in_batches_that_end_before_the_deadline(
    model: Model, make_engine: EngineFactory, set_clock: SetClock
) -> None:
    engine = make_engine(n_batch=256, n_parallel=2)
    engine._loop._throughput.observe(1, 1.0)  # a machine that takes a second for each token
    prompt = request(model.tokenize("one two three four " * 40)[:150], 1)
    set_clock(lambda: DEADLINE - 20.0)

    result = one(engine, replace(prompt, deadline=DEADLINE, return_progress=True))

    # From the second batch on it knows that this machine is faster.
    assert [progress.processed for progress in result.progress] == [0, 20, 150]
    assert result.finish_reason == "length"
    assert not result.reached_deadline
