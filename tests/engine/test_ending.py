"""How sequences end: by themselves, by limits, by callers, by faults."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from shared.engine.batching.plan import Plan
from shared.engine.engine import Engine
from shared.engine.evaluator import Evaluator
from shared.engine.llama.context import Batch, Context, KVCacheFullError
from shared.engine.llama.errors import LlamaError
from shared.engine.llama.model import Model
from shared.engine.scheduler import Scheduler
from shared.engine.types import (
    ContextLengthError,
    EngineStoppedError,
    GenerationRequest,
    Output,
    Priority,
    QueueFullError,
    SamplingParams,
)
from tests.engine.conftest import GREEDY, LONG, EngineFactory, chat, collect, one, request, run
from tests.sweeps import examples


def test_an_answer_ends_by_itself(model: Model, make_engine: EngineFactory) -> None:
    result = one(make_engine(), request(chat(model, "What is the capital of France?")))

    assert result.finish_reason == "stop"
    assert "Paris" in result.text
    assert "<|im_end|>" not in result.text


def test_max_tokens_is_exact(model: Model, make_engine: EngineFactory) -> None:
    engine = make_engine()

    for limit in (1, 2, 17):
        result = one(engine, request(chat(model, "Tell me a story"), limit))
        assert result.cost.completion_tokens == limit
        assert result.finish_reason == "length"


def test_outputs_count_the_tokens_so_far(model: Model, make_engine: EngineFactory) -> None:
    engine = make_engine()
    asked = request(chat(model, "Tell me a story"), 17, sampling=LONG, return_progress=True)

    async def outputs() -> list[Output]:
        return [each async for several in engine.submit(asked) for each in several]

    found = asyncio.run(outputs())

    assert [each.n_sampled for each in found if each.progress] == [0, 0]  # begun, and evaluated
    counts = [each.n_sampled for each in found if not each.progress]
    assert counts == sorted(set(counts))
    assert counts[-1] == 17


def test_the_context_ends_a_completion_that_would_outgrow_it(
    model: Model, make_engine: EngineFactory
) -> None:
    engine = make_engine(n_ctx=256, n_parallel=1)

    result = one(engine, request(model.tokenize("a b c " * 100)[:200], 1000, sampling=LONG))

    assert result.finish_reason == "length"
    assert result.cost.completion_tokens == 56


def test_a_prompt_that_can_never_fit_is_refused_at_once(
    model: Model, make_engine: EngineFactory
) -> None:
    engine = make_engine(n_ctx=256, n_parallel=1)

    with pytest.raises(ContextLengthError) as caught:
        one(engine, request(model.tokenize("a b c " * 200)[:256]))

    assert (caught.value.n_prompt, caught.value.n_ctx) == (256, 256)


def test_a_stop_string_split_over_tokens_is_caught(
    model: Model, make_engine: EngineFactory
) -> None:
    engine = make_engine()
    count = request(chat(model, "Count from 1 to 20"), 60)
    whole = one(engine, count).text
    stop = whole[10:22]
    assert len(model.tokenize(stop, add_special=False)) >= 3

    result = one(engine, replace(count, stop=("nowhere", stop)))

    assert result.text == whole[: whole.index(stop)]
    assert (result.finish_reason, result.stop) == ("stop", stop)


def test_text_held_back_for_a_stop_string_that_never_comes_is_delivered(
    model: Model, make_engine: EngineFactory
) -> None:
    engine = make_engine()
    count = request(chat(model, "Count from 1 to 20"), 60)
    whole = one(engine, count).text

    result = one(engine, replace(count, stop=(whole[-4:] + "!",)))

    assert result.text == whole


def test_characters_split_over_tokens_arrive_whole(
    model: Model, make_engine: EngineFactory
) -> None:
    engine = make_engine()

    for question in ("Say hello in Chinese", "Send me three emoji", "Say hello in Japanese"):
        result = one(engine, request(chat(model, question)))
        assert "�" not in result.text
        assert not result.text.isascii()


def test_a_completion_cut_within_a_character_says_so(
    model: Model, make_engine: EngineFactory
) -> None:
    engine = make_engine()
    whole = one(engine, request(chat(model, "Say hello in Chinese"))).text

    result = one(engine, request(chat(model, "Say hello in Chinese"), 1))

    assert result.text == "�"
    assert not whole.startswith("�")


@pytest.mark.slow
def test_a_deadline_ends_a_request_that_still_waits(
    model: Model, make_engine: EngineFactory
) -> None:
    engine = make_engine(n_parallel=1)
    long = request(chat(model, "Tell me a story"), 200, sampling=LONG)

    _, late = run(engine, long, replace(long, deadline=time.monotonic()))

    assert (late.finish_reason, late.text) == ("length", "")


@pytest.mark.slow
def test_cancelling_frees_sequences_and_cells_two_hundred_times(
    model: Model, make_engine: EngineFactory
) -> None:
    engine = make_engine()
    n_cancelled = examples(200)

    async def scenario() -> None:
        for i in range(n_cancelled):
            story = request(chat(model, f"Tell me story {i}"), 3000, sampling=LONG, n=2)
            generation = engine.submit(story)
            await generation.receive()
            generation.cancel()
            assert [outputs async for outputs in generation] == []
        # The engine takes messages in order: once this is served, the cancellations are done.
        await collect(engine, request(chat(model, "Hi"), 1))

    asyncio.run(scenario())

    stats = engine.stats()
    assert stats.cancelled_sequences == 2 * n_cancelled
    assert (stats.sequences_running, stats.sequences_waiting, stats.requests_queued) == (0, 0, 0)
    assert stats.kv_cells_running == 0


def test_the_queue_is_bounded(model: Model, make_engine: EngineFactory) -> None:
    engine = make_engine(n_parallel=1, max_queue=2)
    story = request(chat(model, "Tell me a story"), 3000, sampling=LONG)

    async def scenario() -> None:
        running = engine.submit(story)
        await running.receive()
        waiting = [engine.submit(request(chat(model, "Hi"), 2)) for _ in range(2)]
        with pytest.raises(QueueFullError):
            engine.submit(story)
        running.cancel()
        for generation in waiting:
            assert [o async for outputs in generation for o in outputs][-1].finish_reason

    asyncio.run(scenario())


def test_service_tiers_order_the_queue(model: Model, make_engine: EngineFactory) -> None:
    engine = make_engine(n_parallel=1)
    finished: list[Priority] = []

    async def serve(generation_request: GenerationRequest) -> None:
        await collect(engine, generation_request)
        finished.append(generation_request.priority)

    async def scenario() -> None:
        running = engine.submit(request(chat(model, "Tell me a story"), 3000, sampling=LONG))
        await running.receive()
        tiers = [Priority.FLEX, Priority.DEFAULT, Priority.PRIORITY]
        hi = chat(model, "Hi")
        tasks = [asyncio.create_task(serve(request(hi, 2, priority=tier))) for tier in tiers]
        while engine.stats().sequences_waiting < len(tasks):
            await running.receive()
        running.cancel()
        await asyncio.gather(*tasks)

    asyncio.run(scenario())

    assert finished == [Priority.PRIORITY, Priority.DEFAULT, Priority.FLEX]


def test_a_failed_batch_ends_its_sequences_and_spares_the_engine(
    model: Model, make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine()

    def fail(_context: Context, _batch: Batch) -> None:
        monkeypatch.undo()
        raise LlamaError("injected")

    monkeypatch.setattr(Context, "decode", fail)
    failed = one(engine, request(chat(model, "Hi")))
    served = one(engine, request(chat(model, "What is the capital of France?")))

    assert failed.finish_reason == "error"
    assert "Paris" in served.text
    assert engine.stats().failed_sequences == 1


def test_a_dead_engine_thread_leaves_nobody_waiting(
    model: Model, make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine()

    def fail(_scheduler: Scheduler) -> None:
        raise AssertionError("injected")

    monkeypatch.setattr(Scheduler, "schedule", fail)
    result = one(engine, request(chat(model, "Hi")))

    assert result.finish_reason == "error"
    with pytest.raises(EngineStoppedError):
        one(engine, request(chat(model, "Hi")))


def test_an_engine_that_turns_round_and_round_gives_up(
    model: Model, make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever watches it can replace an engine that has died, not one that never gets on."""
    engine = make_engine()

    def find_nothing(_evaluator: Evaluator, _plan: Plan) -> None:
        raise KVCacheFullError

    monkeypatch.setattr(Evaluator, "evaluate", find_nothing)
    monkeypatch.setattr(Scheduler, "relieve_pressure", lambda _: True)
    monkeypatch.setattr("shared.engine.stall._STALL_SECONDS", 0)

    assert one(engine, request(chat(model, "Hi"))).finish_reason == "error"
    engine.wait()
    assert not engine.is_alive


def test_stopping_ends_what_runs(model: Model, make_engine: EngineFactory) -> None:
    engine = make_engine()

    async def scenario() -> str | None:
        generation = engine.submit(request(chat(model, "Tell me a story"), 3000, sampling=LONG))
        await generation.receive()
        await asyncio.to_thread(Engine.stop, engine)
        return [o async for outputs in generation for o in outputs][-1].finish_reason

    assert asyncio.run(scenario()) == "error"


@pytest.mark.slow
def test_min_tokens_and_ignore_eos_keep_a_completion_going(
    model: Model, make_engine: EngineFactory
) -> None:
    engine = make_engine()
    question = chat(model, "What is 2 + 2?")
    natural = one(engine, request(question)).cost.completion_tokens

    longer = one(engine, request(question, sampling=replace(GREEDY, min_tokens=natural + 5)))
    endless = one(engine, request(question, 100, sampling=LONG))

    assert longer.cost.completion_tokens >= natural + 5
    assert endless.cost.completion_tokens == 100


def test_a_request_that_makes_no_sequence_fails_alone(
    make_engine: EngineFactory, model: Model
) -> None:
    engine = make_engine()
    question = request(chat(model, "What is the capital of France?"))
    wrong = SamplingParams(seed=0, dry_multiplier="much")  # type: ignore[arg-type]

    results = run(engine, question, request(question.prompt, n=2, sampling=wrong), question)  # type: ignore[arg-type]

    assert [result.finish_reason for result in results] == ["stop", "error", "error", "stop"]
    assert engine.is_alive
    assert engine.stats().requests_queued == 0
