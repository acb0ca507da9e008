"""Continuous batching: whatever runs together gives what it gives alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from shared.engine.llama.context import Batch, Context
from shared.engine.llama.model import Model
from tests.engine.conftest import GREEDY, LONG, EngineFactory, chat, collect, one, request, run
from tests.sweeps import examples

# All far from a tie between two tokens, so that the order of a sum's terms can't change the text.
QUESTIONS = [
    "What is the capital of France?",
    "What is 2 + 3?",
    "Hello!",
    "Count from 1 to 20",
    "What is the capital of Japan?",
    "Say hello in Chinese",
    "What is 4 + 5?",
    "Who are you?",
    "Count from 1 to 100",
    "What is the capital of Italy?",
    "Send me three emoji",
    "Name the days of the week.",
    "What is the capital of Spain?",
    "Count from 1 to 10",
    "What is 7 + 8?",
    "What is the capital of Norway?",
]
LONG_ANSWERS = [
    "Count from 1 to 100",
    "Please count from 1 to 100.",
    "Write the numbers from 1 to 100.",
    "List the numbers from 1 to 100.",
    "Numbers from 1 to 100",
    "Say the numbers 1 to 100.",
    "Give me the numbers from 1 to 100.",
    "Can you count from 1 to 100?",
]


@pytest.mark.slow
def test_sixteen_streams_of_different_lengths_give_the_texts_they_give_alone(
    model: Model, make_engine: EngineFactory
) -> None:
    requests = [
        request(chat(model, question), max_tokens=24 + 9 * i)
        for i, question in enumerate(QUESTIONS)
    ]
    alone = [one(make_engine(n_parallel=1), r) for r in requests]

    together = run(make_engine(n_parallel=16), *requests)

    assert [r.text for r in together] == [r.text for r in alone]
    assert [r.finish_reason for r in together] == [r.finish_reason for r in alone]


@pytest.mark.slow
def test_more_requests_than_places_all_finish(model: Model, make_engine: EngineFactory) -> None:
    engine = make_engine(n_parallel=3)
    question = request(chat(model, "What is the capital of France?"))

    results = run(engine, *[question] * 20)

    assert {r.text for r in results} == {one(engine, question).text}
    assert engine.stats().sequences_running == 0


@pytest.mark.slow
def test_a_long_prompt_delays_running_streams_by_one_batch_at_most(
    model: Model, make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two chunks of the long prompt, each of the eight streams decodes a token."""
    engine = make_engine(n_parallel=9, n_batch=256, n_ctx=9 * 2048)
    batches: list[tuple[int, set[int]]] = []
    decode = Context.decode

    def recording(context: Context, batch: Batch) -> None:
        batches.append((batch.size, set(batch.sequence_ids().tolist())))
        decode(context, batch)

    async def scenario() -> None:
        streams = [
            engine.submit(request(chat(model, q), 1900, sampling=LONG)) for q in QUESTIONS[:8]
        ]
        for stream in streams:
            await stream.receive()  # all eight run now
        monkeypatch.setattr(Context, "decode", recording)
        (long,) = await collect(engine, request(model.tokenize("a b c " * 500)[:1500], 1))
        assert long.cost.prompt_tokens == 1500
        monkeypatch.undo()
        for stream in streams:
            stream.cancel()

    asyncio.run(scenario())

    assert all(size <= 256 for size, _ in batches)
    n_chunks, decoded = 0, set[int]()
    for size, ids in batches:
        decoded |= ids
        if size > 9:  # a chunk, with or without the decodes in the same batch
            n_chunks += 1
            assert len(decoded) == 9
            decoded = set()
    assert n_chunks >= 1500 // 256


@pytest.mark.slow
def test_a_kv_cache_too_small_for_all_requests_still_serves_all_of_them(
    model: Model, make_engine: EngineFactory
) -> None:
    """The sequences grow to far more than 512 cells: some are preempted and recomputed."""
    questions = LONG_ANSWERS[: examples(8, at_least=5)]
    requests = [request(chat(model, question), max_tokens=180) for question in questions]
    large = make_engine(n_parallel=8)
    alone = [one(large, r).text for r in requests]

    engine = make_engine(n_parallel=8, n_ctx=512, n_batch=64, kv_unified=True)
    together = run(engine, *requests)

    assert [r.text for r in together] == alone
    assert all(r.cost.completion_tokens == 180 for r in together)
    assert engine.stats().preemptions > 0


def test_several_prompts_of_one_caller_are_numbered_through(
    model: Model, make_engine: EngineFactory
) -> None:
    engine = make_engine()
    requests = [request(chat(model, q), n=2) for q in QUESTIONS[:3]]

    results = asyncio.run(collect(engine, *requests))

    assert [r.text for r in results] == [
        one(engine, request(chat(model, q))).text for q in QUESTIONS[:3] for _ in range(2)
    ]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_text_alone_in_a_batch_and_on_another_engine(
    model: Model, make_engine: EngineFactory
) -> None:
    sampling = replace(GREEDY, temperature=1.0, seed=2**64 - 1)
    story = request(chat(model, "Tell me a story"), 24, sampling=sampling)
    others = [
        request(chat(model, q), 24, sampling=replace(sampling, seed=i))
        for i, q in enumerate(QUESTIONS)
    ]

    alone = one(make_engine(), story)
    together = run(make_engine(), *others[:8], story, *others[8:])

    assert together[8].text == alone.text


@pytest.mark.slow
def test_choices_differ_from_one_another_but_repeat_with_the_seed(
    model: Model, make_engine: EngineFactory
) -> None:
    sampling = replace(GREEDY, temperature=1.0, seed=5)
    stories = request(chat(model, "Tell me a story"), 60, sampling=sampling, n=4)
    engine = make_engine()

    first, second = run(engine, stories), run(engine, stories)

    assert len({r.text for r in first}) == 4
    assert [r.text for r in first] == [r.text for r in second]
