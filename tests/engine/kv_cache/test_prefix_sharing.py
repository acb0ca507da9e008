"""Prompts that begin alike are evaluated once."""

from __future__ import annotations

import pytest

from shared.engine.llama.model import Model
from tests.engine.conftest import EngineFactory, chat, one, request, run


def prefix(model: Model, length: int) -> list[int]:
    return model.tokenize("Once upon a time there was a fox. " * 200)[:length]


def test_a_second_request_with_the_same_prefix_evaluates_only_the_rest(
    model: Model, make_engine: EngineFactory
) -> None:
    engine = make_engine()
    shared = prefix(model, 500)
    first, second = shared + model.tokenize("One day"), shared + model.tokenize("In the end")

    cold = one(engine, request(first, 4))
    evaluated = engine.stats().evaluated_tokens
    warm = one(engine, request(second, 4))

    assert cold.cost.cached_tokens == 0
    assert warm.cost.cached_tokens == 500
    # The rest of the prompt, and all sampled tokens but the last.
    assert engine.stats().evaluated_tokens - evaluated == len(second) - 500 + 3


@pytest.mark.slow
def test_a_shared_prefix_changes_no_text(model: Model, make_engine: EngineFactory) -> None:
    question = request([*prefix(model, 300), *chat(model, "What is the capital of France?")], 11)
    alone = one(make_engine(), question)

    engine = make_engine()
    one(engine, request([*prefix(model, 300), *model.tokenize("One day")], 8))
    shared = one(engine, question)

    assert shared.cost.cached_tokens >= 300
    assert shared.text == alone.text
    assert "Paris" in shared.text


def test_a_conversation_continues_from_its_last_turn(
    model: Model, make_engine: EngineFactory
) -> None:
    engine = make_engine()
    turn = prefix(model, 200)
    answer = one(engine, request(turn, 20))
    history = turn + model.tokenize(answer.text)

    again = one(engine, request(history + model.tokenize(" And then?"), 4))

    assert again.cost.cached_tokens >= 200


def test_requests_that_arrive_together_wait_for_the_prefix_they_share(
    model: Model, make_engine: EngineFactory
) -> None:
    engine = make_engine(n_batch=128)
    requests = [request([*prefix(model, 600), *model.tokenize(f"number {i}")], 4) for i in range(8)]

    results = run(engine, *requests)

    assert all(n >= 600 for n in sorted(r.cost.cached_tokens for r in results)[1:])
    assert engine.stats().evaluated_tokens < 600 + 8 * 20


def test_n_choices_evaluate_the_prompt_once(model: Model, make_engine: EngineFactory) -> None:
    engine = make_engine()

    results = run(engine, request(prefix(model, 400), 5, n=6))

    assert len({r.text for r in results}) == 1
    # Each further choice evaluates the last prompt token again, for its own logits.
    assert engine.stats().evaluated_tokens == 400 + 5 + 6 * 4
    assert engine.stats().prompt_tokens == 400


@pytest.mark.slow
def test_cached_prefixes_give_way_when_cells_are_needed(
    model: Model, make_engine: EngineFactory
) -> None:
    engine = make_engine(n_ctx=512, kv_unified=True)
    for start in range(4):
        one(engine, request(prefix(model, 400)[start:], 8))
    assert 0 < engine.stats().kv_cells_cached <= 512

    result = one(engine, request(model.tokenize("a b c d " * 200)[:480], 8))

    assert result.cost.completion_tokens == 8
    assert engine.stats().preemptions == 0
