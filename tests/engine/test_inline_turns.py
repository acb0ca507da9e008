"""Inline turns: an event loop evaluates a request that ends at once, while the engine waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from shared.engine.engine import Engine
from shared.engine.grammar.compiler import ConstraintCompiler
from shared.engine.grammar.grammar import grammar
from shared.engine.llama.context import Batch
from shared.engine.llama.model import Model
from shared.engine.mailbox.generation import Generation
from shared.engine.step_loop import StepLoop
from shared.engine.types import EngineStoppedError, GenerationRequest, Output
from tests.engine.conftest import GREEDY, LONG, EngineFactory, one, request
from tests.server import wait_until

PROMPT = list(range(10, 20))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No prompt takes too long, whatever this machine makes of it."""
    monkeypatch.setattr("shared.engine.turns._INLINE_SECONDS", 1e9)


@pytest.fixture
def engine(make_engine: EngineFactory) -> Engine:
    """One that knows how fast it is."""
    engine = make_engine(n_threads=1, n_parallel=4)
    one(engine, request(PROMPT, 1))
    await_idle(engine)
    return engine


def await_idle(engine: Engine) -> None:
    """Wait until its thread waits."""
    wait_until(lambda: engine._inbox._is_waiting, "the engine waits")


@pytest.fixture
def evaluators(engine: Engine) -> list[str]:
    """The threads that have evaluated something, in that order."""
    names: list[str] = []
    decode = engine._context.decode

    def noted(batch: Batch) -> None:
        names.append(threading.current_thread().name)
        decode(batch)

    engine._context.decode = noted  # type: ignore[method-assign]
    return names


def outputs_at_once(engine: Engine, asked: GenerationRequest) -> list[Output]:
    """What there is of a request right after it was submitted."""

    async def submit() -> list[Output]:
        generation = engine.submit(asked, inline=True)
        found = list(generation._outputs)
        async for _ in generation:
            pass
        return found

    return asyncio.run(submit())


def test_a_token_is_there_at_once(engine: Engine, evaluators: list[str]) -> None:
    prompt = PROMPT[::-1]

    [output] = outputs_at_once(engine, request(prompt, 1, return_tokens=True))

    assert evaluators == [threading.current_thread().name]
    assert (output.finish_reason, output.n_sampled) == ("length", 1)
    by_thread = one(engine, request(prompt, 1, return_tokens=True, cache_prompt=False))
    assert by_thread.tokens == list(output.tokens)
    assert evaluators[-1] == "engine"


def test_a_prompt_alone_is_evaluated_at_once(engine: Engine, evaluators: list[str]) -> None:
    [output] = outputs_at_once(engine, request(PROMPT[::-1], 0))

    assert evaluators == [threading.current_thread().name]
    assert (output.finish_reason, output.n_sampled) == ("length", 0)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"max_tokens": 2, "sampling": LONG}, id="several tokens"),
        pytest.param({"n": 2}, id="several choices"),
        pytest.param({"prompt_logprobs": True, "top_logprobs": 0}, id="log probabilities"),
    ],
)
def test_what_takes_longer_is_the_threads(
    engine: Engine, evaluators: list[str], fields: dict[str, Any]
) -> None:
    assert outputs_at_once(engine, request(PROMPT[::-1], **{"max_tokens": 1, **fields})) == []
    assert set(evaluators) == {"engine"}


def test_constraints_are_the_threads(engine: Engine, evaluators: list[str], model: Model) -> None:
    constraint = ConstraintCompiler(model).compile(grammar("regex", "[0-9]"))

    assert outputs_at_once(engine, request(PROMPT, 1, constraint=constraint)) == []
    assert set(evaluators) == {"engine"}


def test_long_prompts_are_the_threads(
    engine: Engine, evaluators: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.engine.turns._INLINE_SECONDS", 0.0)

    assert outputs_at_once(engine, request(PROMPT[::-1], 1)) == []
    assert evaluators == ["engine"]


def test_nothing_is_inline_before_it_is_known_how_long_prompts_take(
    make_engine: EngineFactory,
) -> None:
    assert outputs_at_once(make_engine(n_threads=1), request(PROMPT, 1)) == []


def test_nothing_is_inline_where_llama_cpp_has_threads_of_its_own(
    make_engine: EngineFactory,
) -> None:
    engine = make_engine(n_threads=2)
    one(engine, request(PROMPT, 1))
    await_idle(engine)

    assert outputs_at_once(engine, request(PROMPT[::-1], 1)) == []


def test_a_busy_engine_takes_it_itself(
    engine: Engine, evaluators: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go, is_there = threading.Event(), threading.Event()
    decode = engine._context.decode

    def held(batch: Batch) -> None:
        is_there.set()
        may_go.wait()
        decode(batch)

    monkeypatch.setattr(engine._context, "decode", held)

    async def submit() -> list[Output]:
        before = engine.submit(request(PROMPT[::-1], 1))
        await asyncio.to_thread(is_there.wait)
        generation = engine.submit(request(PROMPT[::-2], 1), inline=True)
        assert not generation._outputs
        may_go.set()
        found = [each async for outputs in generation for each in outputs]
        assert [each async for outputs in before for each in outputs]
        return found

    [output] = asyncio.run(submit())
    assert output.finish_reason == "length"
    assert set(evaluators) == {"engine"}


def test_what_others_want_is_the_threads(engine: Engine, evaluators: list[str]) -> None:
    async def submit() -> tuple[int, int]:
        long = engine.submit(request(PROMPT[::-1], 30, sampling=LONG))
        short = engine.submit(request(PROMPT[::-2], 1), inline=True)  # the thread is not awake yet
        assert not short._outputs
        counts = []
        for generation in (short, long):
            last = [each async for outputs in generation for each in outputs][-1]
            counts.append(last.n_sampled)
        return counts[0], counts[1]

    assert asyncio.run(submit()) == (1, 30)
    assert set(evaluators) == {"engine"}


def test_what_is_not_done_after_the_turn_is_the_threads(
    engine: Engine, evaluators: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other: Generation
    receive = engine._loop._receive
    prompt = request(PROMPT[::-1], 5, sampling=LONG, return_tokens=True)

    def receive_more() -> None:
        monkeypatch.undo()
        engine._inbox.submit(other)  # between the look into the inbox and the turn
        receive()

    async def submit() -> int:
        nonlocal other
        other = Generation([prompt], asyncio.get_running_loop(), lambda _: None)
        monkeypatch.setattr(engine._loop, "_receive", receive_more)
        generation = engine.submit(request(PROMPT[::-2], 1), inline=True)
        assert generation._n_open == 0
        return sum([len(each.tokens) async for outputs in other for each in outputs])

    assert asyncio.run(submit()) == 5
    assert evaluators[0] == threading.current_thread().name
    assert evaluators[-1] == "engine"


def test_an_engine_that_is_stopped_meanwhile_ends(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The letter that would wake its thread may be read by the turn."""
    receive = engine._loop._receive

    def stopped() -> None:
        engine._turns.is_stopped = True
        engine._inbox._letters.append(("wake", None))
        receive()

    monkeypatch.setattr(engine._loop, "_receive", stopped)
    [output] = outputs_at_once(engine, request(PROMPT[::-1], 1))

    assert output.finish_reason == "length"
    engine._thread.join(30)
    assert not engine._thread.is_alive()


def test_a_deadline_that_has_passed_ends_it(engine: Engine, evaluators: list[str]) -> None:
    [output] = outputs_at_once(engine, request(PROMPT[::-1], 1, deadline=0.0))

    assert (output.finish_reason, output.reached_deadline) == ("length", True)
    assert evaluators == []


def test_an_interrupt_ends_the_engine_and_goes_on(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine._loop._planner, "plan", interrupt)

    async def submit() -> str:
        try:
            engine.submit(request(PROMPT[::-1], 1), inline=True)
        except KeyboardInterrupt:
            return "interrupted"
        return "swallowed"

    assert asyncio.run(submit()) == "interrupted"
    assert engine.wait()


def test_a_fault_ends_the_engine_and_everybody_is_told(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("planned")

    monkeypatch.setattr(engine._loop._planner, "plan", fail)

    async def submit() -> list[Output]:
        generation = engine.submit(request(PROMPT[::-1], 1), inline=True)
        return [each async for outputs in generation for each in outputs]

    [output] = asyncio.run(submit())

    assert output.finish_reason == "error"
    assert engine.wait()
    assert caplog.messages == ["the engine's thread died"]
    assert not engine.is_alive
    with pytest.raises(EngineStoppedError):
        outputs_at_once(engine, request(PROMPT, 1))


def test_an_idle_engine_stays_idle(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []
    take_turn = StepLoop.take_turn

    def noted(loop: StepLoop) -> None:
        turns.append(threading.current_thread().name)
        take_turn(loop)

    monkeypatch.setattr(StepLoop, "take_turn", noted)

    async def submit() -> None:
        generation = engine.submit(request(PROMPT[::-1], 1), inline=True)
        for _ in range(3):
            await asyncio.sleep(0)  # what would wake the thread has run by then
        assert generation._n_open == 0

    asyncio.run(submit())

    assert turns == [threading.current_thread().name]
    assert engine._loop.progress.is_idle


def test_event_loops_take_turns_with_the_thread(engine: Engine) -> None:
    """Several event loops at once, each with requests of one token and of some."""
    n_requests = 30
    expected = [one(engine, r).tokens for r in _mixed(n_requests)]
    found: dict[int, list[list[int]]] = {}

    def serve(caller: int) -> None:
        async def ask() -> list[list[int]]:
            results = []
            for asked in _mixed(n_requests):
                generation = engine.submit(asked, tenant=str(caller), inline=True)
                tokens: list[int] = []
                async for outputs in generation:
                    for output in outputs:
                        tokens += output.tokens
                results.append(tokens)
            return results

        found[caller] = asyncio.run(ask())

    threads = [threading.Thread(target=serve, args=(caller,)) for caller in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [[len(tokens) for tokens in each] for each in found.values()] == [
        [len(tokens) for tokens in expected]
    ] * 3


def _mixed(n_requests: int) -> Iterator[GenerationRequest]:
    for i in range(n_requests):
        n_tokens = 1 if i % 3 else 5
        sampling = replace(GREEDY, ignore_eos=True)
        yield request([*PROMPT[i % 7 :], i], n_tokens, sampling=sampling, return_tokens=True)
