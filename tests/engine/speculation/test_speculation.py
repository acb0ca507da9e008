"""Speculative decoding: whatever is drafted, the answers are those without drafts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from itertools import count
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.engine.batching.plan import Plan
from shared.engine.config import EngineConfig
from shared.engine.detokenizer import Detokenizer, Vocabulary
from shared.engine.grammar.compiler import ConstraintCompiler
from shared.engine.grammar.constraint import Constraint
from shared.engine.grammar.grammar import grammar
from shared.engine.llama.context import LogitsArray
from shared.engine.llama.model import Model
from shared.engine.scheduler import Scheduler
from shared.engine.speculation.draft_context import DraftContext, Piece
from shared.engine.speculation.speculator import Speculator
from shared.engine.types import GenerationRequest, SamplingParams
from tests.engine.conftest import CheckedEngine, Result, collect, run
from tests.engine.exact_context import (
    DraftKind,
    ExactContext,
    exact_contexts,
    exact_draft_contexts,
)
from tests.engine.speculation.speculation_cases import (
    CASES,
    CONSTRAINTS,
    SETUPS,
    SPECULATION,
    WORDS,
    Case,
    RandomDrafts,
    Setup,
    let_any_draft_pay,
    requests_of,
    shown,
)
from tests.sweeps import examples

MODEL_ONLY = replace(SPECULATION, looks_up=False)
STEP = 3600.0
"""Seconds between two looks at the clock: no batch is made smaller by a deadline that is near."""

Serve = Callable[[CheckedEngine, list[GenerationRequest]], list[Result]]


@pytest.fixture(scope="module")
def favourites(model: Model) -> list[int]:
    """Tokens that are likely, and now and then the end."""
    tokens = [token for word in WORDS for token in model.tokenize(word, add_special=False)]
    return sorted({*tokens, int(model.end_tokens[0])})


@pytest.fixture(scope="module")
def constraints(model: Model) -> dict[str | None, Constraint | None]:
    compiler = ConstraintCompiler(model)
    found: dict[str | None, Constraint | None] = {None: None}
    for kind, source in CONSTRAINTS.items():
        found[kind] = compiler.compile(grammar(kind, source))  # type: ignore[arg-type]
    return found


@pytest.fixture(scope="module")
def any_draft_pays() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        let_any_draft_pay(patch)
        yield


some_examples = settings(
    derandomize=True,
    deadline=None,
    max_examples=examples(150),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
many_examples = settings(some_examples, max_examples=examples(300))


@pytest.mark.slow
@many_examples
@given(cases=st.lists(CASES, min_size=1, max_size=5), setup=SETUPS)
def test_answers_are_those_without_drafts(
    model: Model,
    constraints: dict[str | None, Constraint | None],
    favourites: list[int],
    any_draft_pays: None,
    cases: list[Case],
    setup: Setup,
) -> None:
    requests = requests_of(cases, model, constraints)
    with pytest.MonkeyPatch.context() as patch:
        expected = answers_without_drafts(patch, model, favourites, setup, requests)
        drafted = requests_of(cases, model, constraints, expected)
        engine = drafting_engine(patch, model, favourites, setup, expected)
        found = served(engine, drafted, drafted)

    for results in (found[: len(expected)], found[len(expected) :]):
        assert [shown(each) for each in results] == [shown(each) for each in expected]
    check_counts(engine, found)


@pytest.mark.slow
@some_examples
@given(
    cases_and_steps=st.lists(
        st.tuples(CASES, st.one_of(st.none(), st.integers(0, 24))), min_size=1, max_size=5
    ),
    setup=SETUPS,
)
def test_what_comes_until_a_deadline_is_the_beginning_of_that(
    model: Model,
    constraints: dict[str | None, Constraint | None],
    favourites: list[int],
    any_draft_pays: None,
    cases_and_steps: list[tuple[Case, int | None]],
    setup: Setup,
) -> None:
    """The engine's clock moves by `STEP` when looked at, which is once before every step.

    Then all are asked again without deadlines: by what was cut off nobody else is disturbed.
    """
    cases = [case for case, _ in cases_and_steps]
    requests = requests_of(cases, model, constraints)
    with pytest.MonkeyPatch.context() as patch:
        expected = answers_without_drafts(patch, model, favourites, setup, requests)
        drafted = requests_of(cases, model, constraints, expected)
        hurried = [
            request if n_steps is None else replace(request, deadline=n_steps * STEP)
            for request, (_, n_steps) in zip(drafted, cases_and_steps, strict=True)
        ]
        engine = drafting_engine(patch, model, favourites, setup, expected)
        clock = count(0.0, STEP)
        time = SimpleNamespace(monotonic=lambda: next(clock))
        patch.setattr("shared.engine.step_loop.time", time)
        found = served(engine, hurried, drafted, serve=at_once)

    vocabulary = Vocabulary(model.render)
    for result, whole in zip(found[: len(expected)], expected, strict=True):
        if not result.reached_deadline:
            assert shown(result) == shown(whole)
            continue
        assert (result.finish_reason, result.stop, result.error) == ("length", None, None)
        assert result.cost.completion_tokens == len(result.tokens)
        assert result.tokens == whole.tokens[: len(result.tokens)]
        detokenizer = Detokenizer(vocabulary)
        text = "".join(map(detokenizer.add, result.tokens)) + detokenizer.flush()
        assert result.text == text
        assert result.logprobs == whole.logprobs[: len(result.logprobs)]
        if whole.logprobs:
            assert len(result.logprobs) == len(result.tokens)
        assert result.prompt_logprobs == whole.prompt_logprobs[: len(result.prompt_logprobs)]
    again = found[len(expected) :]
    assert [shown(each) for each in again] == [shown(each) for each in expected]
    check_counts(engine, found)


@pytest.mark.parametrize("is_unified", [True, False], ids=["pool", "shares"])
def test_a_draft_model_that_knows_the_answers_makes_steps_fewer(
    model: Model, favourites: list[int], any_draft_pays: None, is_unified: bool
) -> None:
    words = [model.tokenize(word, add_special=False)[0] for word in WORDS]
    sampling = SamplingParams(seed=0, temperature=0, ignore_eos=True)
    asked = [
        GenerationRequest(prompt=words[i : i + 3], max_tokens=49, sampling=sampling)
        for i in range(3)
    ]
    config = EngineConfig(
        n_ctx=200 * 3, n_parallel=3, n_batch=32, kv_unified=is_unified, speculation=MODEL_ONLY
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shared.engine.engine.new_context", exact_contexts(favourites))
        contexts = exact_draft_contexts(favourites, DraftKind())
        patch.setattr("shared.engine.speculation.setup.new_draft_context", contexts)
        engine = CheckedEngine(model, config, None, model)
        results = served(engine, asked)
    usage = [(each.cost.completion_tokens, each.cost.accepted_draft_tokens) for each in results]
    assert all(n == 49 and n_accepted > 35 for n, n_accepted in usage)
    assert engine.stats().steps < 49 / 3


def answers_without_drafts(
    patch: pytest.MonkeyPatch,
    model: Model,
    favourites: list[int],
    setup: Setup,
    requests: list[GenerationRequest],
) -> list[Result]:
    """What an engine without drafts answers. ``patch`` makes engines have exact contexts."""
    patch.setattr("shared.engine.engine.new_context", exact_contexts(favourites))
    if setup.admits_all:
        patch.setattr(Scheduler, "_likely_fits", lambda *_: True)
    return served(CheckedEngine(model, setup.config), requests)


def drafting_engine(
    patch: pytest.MonkeyPatch,
    model: Model,
    favourites: list[int],
    setup: Setup,
    expected: list[Result],
) -> CheckedEngine:
    """An engine with the drafts of ``setup``."""
    if setup.seed is not None:
        drafts = RandomDrafts(setup.seed, expected, favourites)
        patch.setattr(Speculator, "_draft", lambda _self, sequence: drafts.draft(sequence))
    add_drafts = Speculator.add_drafts

    def add_and_check(speculator: Speculator, plan: Plan, remaining: float | None) -> None:
        add_drafts(speculator, plan, remaining)
        for sequence, draft in plan.drafts.items():
            asked = sequence.request.drafts
            longest, shortest = SPECULATION.longest(asked), SPECULATION.shortest(asked)
            assert max(shortest, 1) <= len(draft.tokens) <= longest

    patch.setattr(Speculator, "add_drafts", add_and_check)
    patch.setattr("shared.engine.speculation.setup._least_shared", lambda *_: 2)
    evaluate = DraftContext.evaluate

    def evaluate_and_check(context: DraftContext, pieces: Collection[Piece]) -> LogitsArray:
        """Cells, own or shared, have to be of the sequences' tokens and drafts."""
        logits = evaluate(context, pieces)
        cells = cast("ExactContext", context._context).rows
        for piece in pieces:
            tokens = cells[piece.entry.seq_id][-1].prefix
            known = context._kv.tokens(piece.entry, 0, piece.entry.n_tokens).tolist()
            assert [*tokens[: len(known)]] == known[: len(tokens)]
        return logits

    patch.setattr(DraftContext, "evaluate", evaluate_and_check)
    draft_model: Model | None = None
    if setup.draft_kind is not None:
        draft_model = model
        contexts = exact_draft_contexts(favourites, setup.draft_kind)
        patch.setattr("shared.engine.speculation.setup.new_draft_context", contexts)
    return CheckedEngine(model, replace(setup.config, speculation=SPECULATION), None, draft_model)


def check_counts(engine: CheckedEngine, results: list[Result]) -> None:
    """Of each result, and that the engine's counts are those of all results together."""
    costs = [result.cost for result in results]
    for cost in costs:
        assert 0 <= cost.accepted_draft_tokens <= cost.draft_tokens
        assert cost.accepted_draft_tokens < max(cost.completion_tokens, 1)
        assert 0 <= cost.accepted_prediction_tokens <= cost.prediction_tokens
        assert cost.accepted_prediction_tokens <= cost.accepted_draft_tokens
    stats = engine.stats()
    assert stats.completion_tokens == sum(cost.completion_tokens for cost in costs)
    assert stats.draft_tokens == sum(cost.draft_tokens for cost in costs)
    assert stats.accepted_draft_tokens == sum(cost.accepted_draft_tokens for cost in costs)


def at_once(engine: CheckedEngine, requests: list[GenerationRequest]) -> list[Result]:
    """Serve the requests as one caller, whose requests all come before the first step."""
    return asyncio.run(collect(engine, *requests))


def served(
    engine: CheckedEngine,
    *rounds: list[GenerationRequest],
    serve: Serve = lambda engine, requests: run(engine, *requests),
) -> list[Result]:
    """The results of rounds of requests, one round after the other, on a new engine."""
    engine.start()
    results = [result for requests in rounds for result in serve(engine, requests)]
    engine.stop()
    if engine.integrity_error is not None:
        raise engine.integrity_error
    return results
