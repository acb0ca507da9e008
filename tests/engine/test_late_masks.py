"""Masks beside the decode: a grammar that takes its time holds up nobody but its own sequence."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from llguidance import LLMatcher

from shared.engine.grammar import masks
from shared.engine.grammar.compiler import ConstraintCompiler
from shared.engine.grammar.constraint import Constraint, ConstraintMatcher
from shared.engine.grammar.grammar import GrammarKind, grammar
from shared.engine.grammar.masks import MaskThreads, TokenConsumer
from shared.engine.llama.model import Model
from shared.engine.speculation.options import SpeculationOptions
from shared.engine.types import GenerationRequest, Output, SamplingParams
from tests.engine.conftest import GREEDY, LONG, EngineFactory, chat, collect, one, request, run
from tests.engine.grammar.held_constraints import HeldConstraint, MeetingConstraint
from tests.server import wait_until


@pytest.fixture(scope="module")
def compiler(model: Model) -> ConstraintCompiler:
    return ConstraintCompiler(model)


@pytest.fixture
def held(compiler: ConstraintCompiler) -> Iterator[HeldConstraint]:
    constraint = HeldConstraint(compiler.compile(grammar("regex", "[0-9 ]{12}")))
    yield constraint
    constraint.may_go.set()


def asked(model: Model, constraint: Constraint, **fields: Any) -> GenerationRequest:
    return request(chat(model, "Count from 1 to 100"), constraint=constraint, **fields)


def test_others_get_on_while_a_mask_is_computed(
    make_engine: EngineFactory, model: Model, compiler: ConstraintCompiler, held: HeldConstraint
) -> None:
    engine = make_engine()
    plain = compiler.compile(grammar("regex", "[0-9 ]{12}"))
    expected = one(engine, asked(model, plain)).text
    other = request(chat(model, "Count from 1 to 100"), 40, sampling=LONG)
    alone = one(engine, other).text

    async def scenario() -> tuple[str, str, str]:
        waiting = asyncio.create_task(collect(engine, asked(model, held)))
        await asyncio.to_thread(held.is_held.wait)
        (free,) = await collect(engine, other)
        (constrained,) = await collect(engine, asked(model, plain))
        assert not waiting.done()
        held.may_go.set()
        (late,) = await waiting
        return free.text, constrained.text, late.text

    assert asyncio.run(scenario()) == (alone, expected, expected)


def test_a_late_sequence_can_be_cancelled(
    make_engine: EngineFactory, model: Model, held: HeldConstraint
) -> None:
    engine = make_engine()

    async def scenario() -> None:
        generation = engine.submit(asked(model, held))
        await asyncio.to_thread(held.is_held.wait)
        generation.cancel()
        wait_until(lambda: engine.stats().sequences_running == 0, "the place is free")

    asyncio.run(scenario())
    assert one(engine, request(chat(model, "Hi"), 4, sampling=LONG)).finish_reason == "length"


def test_a_late_sequence_ends_at_its_deadline(
    make_engine: EngineFactory, model: Model, held: HeldConstraint
) -> None:
    engine = make_engine()
    result = one(engine, asked(model, held, deadline=time.monotonic() + 0.3))
    assert (result.finish_reason, result.reached_deadline) == ("length", True)


def test_a_failing_mask_ends_its_sequence_alone(
    make_engine: EngineFactory, model: Model, compiler: ConstraintCompiler
) -> None:
    constraint = compiler.compile(grammar("regex", "[0-9 ]{12}"))
    failing = HeldConstraint(constraint, RuntimeError("injected"))
    other = request(chat(model, "What is the capital of France?"))

    failed, fine = run(make_engine(), asked(model, failing), other)

    assert (failed.finish_reason, failed.error) == ("error", "following it failed")
    assert failed.cost.completion_tokens == 2
    assert (fine.text, fine.finish_reason) == ("The capital of France is Paris.", "stop")


def test_an_engine_that_stops_waits_for_the_mask_and_leaves_no_thread(
    make_engine: EngineFactory, model: Model, held: HeldConstraint
) -> None:
    engine = make_engine()
    others = set(threading.enumerate())

    async def scenario() -> list[Output]:
        generation = engine.submit(asked(model, held))
        await asyncio.to_thread(held.is_held.wait)
        stopping = asyncio.create_task(asyncio.to_thread(engine.stop))
        outputs = [output async for part in generation for output in part]
        held.may_go.set()
        await stopping
        return outputs

    assert asyncio.run(scenario())[-1].finish_reason == "error"
    left = [thread.name for thread in set(threading.enumerate()) - others]
    assert not [name for name in left if "masks" in name]


def _as_if_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have tokens of all grammars taken, and masks computed, by threads."""
    monkeypatch.setattr(ConstraintMatcher, "is_slow", property(lambda _: True))


JSON = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
LAZY = 'start: TEXT | announced NUMBER\nTEXT: /(.|\\n)*/\nannounced[lazy]: TEXT " is"\nNUMBER: / [0-9]{3}/'


@pytest.mark.slow
@pytest.mark.parametrize("sampling", [GREEDY, SamplingParams(seed=3)], ids=["greedy", "seed"])
@pytest.mark.parametrize(
    ("kind", "source", "fields"),
    [
        ("regex", "[0-9 ]{12}", {}),
        ("regex", "[0-9 ]{12}", {"max_tokens": 5}),
        ("regex", "[0-9 ]{12}", {"max_tokens": 1}),
        ("regex", "[0-9]{3}", {"max_tokens": 3}),
        ("regex", "[0-9 ]{30}", {"stop": ("9",)}),
        ("regex", "[0-9 ]{30}", {"top_logprobs": 2}),
        ("json_schema", JSON, {}),
        ("lark", LAZY, {}),
        ("lark", "start: /[xyz]/ T\nT: /a{1000000}/", {}),
    ],
)
def test_a_slow_grammar_gives_what_a_fast_one_does(
    make_engine: EngineFactory,
    model: Model,
    kind: GrammarKind,
    source: Any,
    fields: dict[str, Any],
    sampling: SamplingParams,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All but how the last tokens come: that a grammar is complete shows a step later."""

    def result() -> tuple[Any, ...]:
        constraint = ConstraintCompiler(model).compile(grammar(kind, source))
        if source == LAZY:
            constraint = constraint.lazily(model.piece)
        prompt = chat(model, "What is the capital of France?")
        found = one(
            make_engine(), request(prompt, constraint=constraint, sampling=sampling, **fields)
        )
        n_tokens = found.cost.completion_tokens
        return found.text, found.finish_reason, found.error, found.stop, n_tokens, found.logprobs

    expected = result()
    _as_if_slow(monkeypatch)
    assert result()[:5] == expected[:5]
    assert [each.sampled.token for each in result()[5]] == [
        each.sampled.token for each in expected[5]
    ]


@pytest.mark.slow
def test_late_sequences_survive_preemption(
    make_engine: EngineFactory,
    model: Model,
    compiler: ConstraintCompiler,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    constraint = compiler.compile(grammar("regex", "[0-9 ]{150}"))
    requests = [
        asked(model, constraint, max_tokens=200, sampling=SamplingParams(seed=seed))
        for seed in (0, 1, 3)
    ]
    alone = [one(make_engine(), each).text for each in requests]
    meeting = MeetingConstraint(constraint, n_sequences=3, n_masks=60)
    requests = [replace(each, constraint=meeting) for each in requests]
    _as_if_slow(monkeypatch)
    small = make_engine(n_ctx=256, n_parallel=3, kv_unified=True)

    crowded = run(small, *requests)

    assert [result.text for result in crowded] == alone
    assert small.stats().preemptions > 0


def test_a_slow_grammar_that_takes_too_long_is_given_up(
    make_engine: EngineFactory, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    _as_if_slow(monkeypatch)
    slow = ConstraintCompiler(model, allowance_s=-1)
    result = one(make_engine(), asked(model, slow.compile(grammar("regex", "[a-z]{9}"))))
    assert (result.finish_reason, result.error) == ("error", "following it takes too long")


def test_sequences_of_slow_grammars_get_no_drafts(
    make_engine: EngineFactory,
    model: Model,
    compiler: ConstraintCompiler,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their masks would be computed one after the other, on the engine's thread."""
    constraint = compiler.compile(grammar("regex", "[0-9]{3}"))
    expected = one(make_engine(), asked(model, constraint, return_tokens=True, max_tokens=3))
    _as_if_slow(monkeypatch)
    engine = make_engine(speculation=SpeculationOptions())

    predicted = asked(model, constraint, prediction=tuple(expected.tokens), max_tokens=3)

    assert one(engine, predicted).text == expected.text
    assert engine.stats().draft_tokens == 0


def test_masks_that_take_long_make_a_grammar_slow(
    model: Model, compiler: ConstraintCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    constraint = compiler.compile(grammar("regex", "[a-z]{8}"))
    first, second = constraint.start(), constraint.start()
    clock = iter([0.0, 0.001, 5.0, 5.1])
    monkeypatch.setattr(time, "thread_time", lambda: next(clock))
    first.prepare()
    assert not second.is_slow
    first.prepare()
    assert second.is_slow
    assert second.is_hostile


def test_requests_without_constraints_start_no_threads(
    make_engine: EngineFactory, model: Model
) -> None:
    engine = make_engine()
    one(engine, request(chat(model, "Hi"), 4))
    assert engine._loop._evaluator.late._threads is None


def test_taking_a_token_without_the_interpreter_gives_the_same_state(
    model: Model, compiler: ConstraintCompiler
) -> None:
    consumer = TokenConsumer()
    constraint = compiler.compile(grammar("regex", "[a-z]{8}"))
    plain, aside = constraint.start(), constraint.start()
    tokens = model.tokenize("abcdefgh", add_special=False)
    for token in tokens:
        plain.take(token)
        aside.take(token, consumer.consume, consumer.clock)
        plain.prepare()
        aside.prepare()
        assert np.array_equal(plain._mask, aside._mask)  # type: ignore[arg-type]
        assert plain.is_complete == aside.is_complete
    assert plain.is_complete
    aside.take(tokens[0], consumer.consume, consumer.clock)
    assert aside.error is not None


@pytest.mark.skipif(sys.platform != "linux", reason="only there threads have a policy of their own")
@pytest.mark.parametrize("has_idle_policy", [True, False])
def test_hostile_grammars_take_what_others_leave(
    monkeypatch: pytest.MonkeyPatch, has_idle_policy: bool
) -> None:
    def refuse(_thread: int, _policy: int, _param: os.sched_param) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    if not has_idle_policy:
        monkeypatch.setattr(os, "sched_setscheduler", refuse)
    threads = MaskThreads(lambda: None)

    policy = threads._hostile.submit(os.sched_getscheduler, 0).result()
    nice = [
        pool.submit(os.getpriority, os.PRIO_PROCESS, 0).result()
        for pool in (threads._slow, threads._hostile)
    ]

    assert policy == (os.SCHED_IDLE if has_idle_policy else os.sched_getscheduler(0))
    assert nice == [19, 19]
    for others in (threads._usual, threads._slow):
        assert others.submit(os.sched_getscheduler, 0).result() == os.sched_getscheduler(0)
    threads.close()


@pytest.mark.parametrize("is_hostile", [False, True])
def test_only_hostile_grammars_are_followed_there(
    monkeypatch: pytest.MonkeyPatch, compiler: ConstraintCompiler, model: Model, is_hostile: bool
) -> None:
    names: list[str] = []
    monkeypatch.setattr(
        ConstraintMatcher,
        "prepare",
        lambda _: names.append(threading.current_thread().name.split("_")[0]),
    )
    constraint = Constraint(compiler.compile(grammar("regex", "[a-z]{8}"))._matcher, 1, 60.0)
    constraint.is_slow, constraint.is_hostile = True, is_hostile
    matcher = constraint.start()
    threads = MaskThreads(lambda: None)

    threads.start([matcher])
    threads.wait([matcher], 60)
    matcher.accept(model.tokenize("a", add_special=False)[0])
    threads.wait([matcher], 60)
    threads.close()

    assert names == ["hostile-masks" if is_hostile else "slow-masks"] * 2


def test_a_mask_waits_for_no_others_while_there_are_threads(
    compiler: ConstraintCompiler, held: HeldConstraint
) -> None:
    stuck = [held.start() for _ in range(masks._USUAL_THREADS - 1)]
    for matcher in stuck:
        matcher.prepare()
        matcher.prepare()
        matcher.is_prepared = False
    fine = compiler.compile(grammar("regex", "[0-9 ]{12}")).start()
    threads = MaskThreads(lambda: None)

    threads.start([*stuck, fine])
    threads.wait([*stuck, fine], 0.0)

    wait_until(lambda: not fine.is_pending, "the mask is there")
    assert all(matcher.is_pending for matcher in stuck)
    held.may_go.set()
    threads.close()


@pytest.mark.parametrize("seconds", [0.005, 0.015])
def test_tokens_that_take_long_make_a_grammar_hostile(
    compiler: ConstraintCompiler, model: Model, seconds: float
) -> None:
    constraint = Constraint(compiler.compile(grammar("regex", "[a-z]{8}"))._matcher, 1, 60.0)
    clock = iter([1.0, 1.0 + seconds])
    token = model.tokenize("a", add_special=False)[0]
    constraint.start().take(token, LLMatcher.consume_token, lambda: next(clock))
    assert constraint.is_hostile == constraint.is_slow == (seconds > 0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is the wall clock")
def test_what_takes_tokens_aside_is_timed_by_its_own_processor_time() -> None:
    for consumer in (TokenConsumer(), TokenConsumer()):
        assert consumer.clock is not time.perf_counter
        assert 0 <= consumer.clock() < time.process_time()


def test_what_has_no_clock_of_its_own_is_timed_by_the_wall_clock() -> None:
    assert masks._clock_of(set()) is time.perf_counter
    assert masks._clock_of({1, 2}) is time.perf_counter
    assert masks._clock_of({2**22 + 1}) is time.perf_counter  # there is no such thread
