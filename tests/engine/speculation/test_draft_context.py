"""Draft model's KV cells: what is evaluated once, and for whom."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from shared.engine.llama.context import LogitsArray
from shared.engine.llama.model import Model
from shared.engine.speculation.draft_context import DraftContext, Piece
from tests.engine.conftest import EngineFactory, Result, chat, collect, one, request, run
from tests.engine.speculation.speculation_cases import let_any_draft_pay

QUESTIONS = "What is the capital of France? " * 30 + "Count from 1 to 20"
Evaluated = list[int]
"""How many tokens each decode of the draft model evaluated."""


@pytest.fixture(autouse=True)
def _any_draft_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    let_any_draft_pay(monkeypatch)


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> Evaluated:
    counts: Evaluated = []
    evaluate = DraftContext.evaluate

    def count(context: DraftContext, pieces: Collection[Piece]) -> LogitsArray:
        counts.append(sum(len(piece.tokens) for piece in pieces))
        return evaluate(context, pieces)

    monkeypatch.setattr(DraftContext, "evaluate", count)
    return counts


@pytest.fixture
def prompt(model: Model) -> list[int]:
    return chat(model, QUESTIONS)


@pytest.mark.parametrize("n_batch", [64, 512])
def test_choices_share_their_prompt(
    make_drafting: EngineFactory, evaluated: Evaluated, prompt: list[int], n_batch: int
) -> None:
    answers = run(make_drafting(n_batch=n_batch), request(prompt, n=3))
    assert len({answer.text for answer in answers}) == 1
    assert all(answer.cost.accepted_draft_tokens > 0 for answer in answers)
    assert len(prompt) < sum(evaluated) < 2 * len(prompt)


def test_later_requests_share_what_there_is(
    make_drafting: EngineFactory, evaluated: Evaluated, prompt: list[int]
) -> None:
    engine = make_drafting()
    first = one(engine, request(prompt))
    evaluated.clear()
    both = run(engine, request(prompt), request(prompt))
    assert [answer.text for answer in both] == [first.text] * 2
    assert all(answer.cost.accepted_draft_tokens > 0 for answer in both)
    assert sum(evaluated) < len(prompt)


def test_who_asks_for_no_cache_shares_nothing_but_among_its_choices(
    make_drafting: EngineFactory, evaluated: Evaluated, prompt: list[int]
) -> None:
    engine = make_drafting()
    one(engine, request(prompt))
    evaluated.clear()
    run(engine, request(prompt, n=2, cache_prompt=False))
    assert len(prompt) < sum(evaluated) < 2 * len(prompt)


def test_what_is_shared_outlives_who_had_it_first(
    make_drafting: EngineFactory, evaluated: Evaluated, prompt: list[int]
) -> None:
    engine = make_drafting(n_parallel=2)
    short, long = run(engine, request(prompt, 24), request(prompt, 60))
    assert long.text.startswith(short.text)
    engine.forget("")  # also of what has ended
    evaluated.clear()
    assert one(engine, request(prompt, 60)).text == long.text
    assert sum(evaluated) > len(prompt)


def test_tenants_share_nothing(
    make_drafting: EngineFactory, evaluated: Evaluated, prompt: list[int]
) -> None:
    engine = make_drafting()

    async def of_two_tenants() -> list[list[Result]]:
        return await asyncio.gather(
            *(collect(engine, request(prompt), tenant=tenant) for tenant in ("a", "b"))
        )

    answers = asyncio.run(of_two_tenants())
    assert all(answer.cost.accepted_draft_tokens > 0 for (answer,) in answers)
    assert sum(evaluated) > 2 * len(prompt)


def test_neither_do_requests_with_other_cache_keys(
    make_drafting: EngineFactory, evaluated: Evaluated, prompt: list[int]
) -> None:
    run(make_drafting(), *(request(prompt, cache_salt=salt) for salt in ("a", "b")))
    assert sum(evaluated) > 2 * len(prompt)
