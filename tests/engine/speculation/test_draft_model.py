"""Draft model: how much it drafts, what requests and options let it do, and what if it fails."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from shared.engine.batching.row_costs import RowCosts
from shared.engine.config import EngineConfig
from shared.engine.llama.context import LogitsArray
from shared.engine.llama.errors import LlamaError
from shared.engine.llama.model import Model
from shared.engine.speculation import draft_decodes, draft_model, drafting
from shared.engine.speculation.cost_estimates import CostEstimates
from shared.engine.speculation.draft_context import DraftContext
from shared.engine.speculation.options import DraftLimits, SpeculationOptions
from tests.engine.conftest import (
    DRAFT_MODEL_ONLY,
    LONG,
    CheckedEngine,
    EngineFactory,
    chat,
    request,
    run,
)
from tests.engine.exact_context import DraftKind, exact_contexts, exact_draft_contexts
from tests.engine.speculation.speculation_cases import let_any_draft_pay

COUNT = "Count from 1 to 20"


class TestEngines:
    """Engines with the model itself as its draft model."""

    @pytest.fixture(autouse=True)
    def _drafts_pay(self, monkeypatch: pytest.MonkeyPatch) -> None:
        let_any_draft_pay(monkeypatch)

    def test_answers_are_the_same_in_fewer_steps(
        self, make_drafting: EngineFactory, model: Model
    ) -> None:
        asked = [request(chat(model, question)) for question in (COUNT, "Count from 5 to 30")]
        plain = make_drafting(speculation=SpeculationOptions(looks_up=False))
        speculating = make_drafting()
        expected, found = run(plain, *asked), run(speculating, *asked)
        assert [each.text for each in found] == [each.text for each in expected]
        assert speculating.stats().accepted_draft_tokens > 64
        assert speculating.draft_types == "draft-simple"

    def test_improbable_tokens_are_not_drafted(
        self, make_drafting: EngineFactory, model: Model
    ) -> None:
        engine = make_drafting(speculation=SpeculationOptions(looks_up=False, p_min=1.0))
        run(engine, request(chat(model, "Tell me a story")))
        sure = engine.stats().draft_tokens
        engine = make_drafting()
        run(engine, request(chat(model, "Tell me a story")))
        assert sure < engine.stats().draft_tokens

    def test_short_drafts_are_not_used(self, make_drafting: EngineFactory, model: Model) -> None:
        engine = make_drafting(speculation=SpeculationOptions(looks_up=False, n_max=3, n_min=3))
        (answer,) = run(engine, request(chat(model, COUNT), 42))
        assert answer.cost.draft_tokens % 3 == 0
        assert answer.cost.draft_tokens > 0

    def test_a_request_asks_for_shorter_drafts_or_none(
        self, make_drafting: EngineFactory, model: Model
    ) -> None:
        engine = make_drafting(speculation=SpeculationOptions(looks_up=False, n_max=3))
        plain = request(chat(model, COUNT), 42)

        def drafted(limits: DraftLimits) -> int:
            (answer,) = run(engine, replace(plain, drafts=limits))
            assert answer.text == expected.text
            return answer.cost.draft_tokens

        (expected,) = run(engine, plain)
        assert expected.cost.draft_tokens > 20
        assert drafted(DraftLimits(n_max=0)) == 0
        n_before = engine.stats().steps
        assert drafted(DraftLimits(n_max=1)) == 20
        assert engine.stats().steps - n_before > 20
        assert drafted(DraftLimits(n_max=64)) == expected.cost.draft_tokens
        assert drafted(DraftLimits(n_min=3)) % 3 == 0
        assert drafted(DraftLimits(n_min=4)) == drafted(DraftLimits(n_max=2, n_min=3)) == 0

    def test_a_request_asks_for_sure_tokens(
        self, make_drafting: EngineFactory, model: Model
    ) -> None:
        engine = make_drafting()
        story = request(chat(model, "Tell me a story"))
        anything, sure = (
            run(engine, replace(story, drafts=limits))[0].cost.draft_tokens
            for limits in (DraftLimits(), DraftLimits(p_min=1.0))
        )
        assert sure < anything

    def test_long_prompts_are_evaluated_in_batches(
        self, make_drafting: EngineFactory, model: Model
    ) -> None:
        engine = make_drafting(n_batch=64)
        prompt = chat(model, "What is the capital of France? " * 30 + COUNT)
        assert len(prompt) > 3 * 64
        (answer,) = run(engine, request(prompt))
        assert answer.cost.accepted_draft_tokens > 0

    @pytest.mark.parametrize("n_sequences", [9, 16])
    def test_many_sequences_that_all_lack_tokens_are_caught_up_with(
        self,
        make_drafting: EngineFactory,
        model: Model,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        n_sequences: int,
    ) -> None:
        """Their tokens that tell what would have been accepted are no more than there is room for."""
        add_drafts, steps = draft_model.DraftModel.add_drafts, count()

        def add_now_and_then(*arguments: Any) -> float:
            return 0.0 if next(steps) % 7 else add_drafts(*arguments)

        monkeypatch.setattr(draft_model.DraftModel, "add_drafts", add_now_and_then)
        engine = make_drafting(n_parallel=n_sequences, n_ctx=64 * n_sequences)
        run(engine, *[request(chat(model, COUNT), 20)] * n_sequences)
        assert engine.stats().accepted_draft_tokens > n_sequences
        assert "the draft model failed" not in caplog.text

    def test_finding_what_is_likeliest_is_part_of_what_it_costs(
        self, make_drafting: EngineFactory, model: Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On a GPU, and with a large vocabulary, that takes longer than to evaluate."""
        clock = [0.0]

        def likeliest(logits: LogitsArray) -> tuple[list[int], list[float]]:
            clock[0] += 5.0 * len(logits)
            return drafting.likeliest(logits)

        monkeypatch.setattr(draft_decodes, "perf_counter", lambda: clock[0])
        monkeypatch.setattr(draft_model, "likeliest", likeliest)
        engine = make_drafting()
        run(engine, request(chat(model, COUNT)))
        drafts = engine._speculator
        assert drafts is not None
        assert drafts.draft_model is not None
        costs = drafts.draft_model._decodes._costs
        assert costs.n_observed(1)
        assert costs.seconds(1) >= 5

    def test_a_draft_model_that_fails_is_left(
        self,
        make_drafting: EngineFactory,
        model: Model,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def fail(_self: DraftContext, _pieces: object) -> None:
            raise LlamaError("llama_decode returned -3")

        monkeypatch.setattr(DraftContext, "evaluate", fail)
        engine = make_drafting()
        (answer,) = run(engine, request(chat(model, COUNT)))
        assert answer.finish_reason == "length"
        assert "the draft model failed" in caplog.text
        assert run(engine, request(chat(model, COUNT)))[0].text == answer.text


def tenth(cost: CostEstimates, n_rows: int) -> float:
    """Costs that a tenth of are the draft model's."""
    return (0.9 + 0.1 * n_rows) * (1.0 if cost._guess is None else 0.1)


def test_what_is_never_accepted_is_hardly_tried(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RowCosts, "is_known", True)
    monkeypatch.setattr(CostEstimates, "__call__", tenth)
    favourites = list(range(100, 120))
    monkeypatch.setattr("shared.engine.engine.new_context", exact_contexts(favourites))
    contexts = exact_draft_contexts(favourites, DraftKind(n_wrong=10))
    monkeypatch.setattr("shared.engine.speculation.setup.new_draft_context", contexts)
    n_evaluated = 0
    evaluate = DraftContext.evaluate

    def counting(context: DraftContext, pieces: list[object]) -> object:
        nonlocal n_evaluated
        n_evaluated += 1
        return evaluate(context, pieces)  # type: ignore[arg-type]

    monkeypatch.setattr(DraftContext, "evaluate", counting)
    config = EngineConfig(n_ctx=1024, n_parallel=1, kv_unified=True, speculation=DRAFT_MODEL_ONLY)
    engine = CheckedEngine(model, config, None, model)
    engine.start()
    (answer,) = run(engine, request([100, 101, 102], 800, sampling=LONG))
    engine.stop()
    assert answer.cost.completion_tokens == 800
    assert 0 < answer.cost.draft_tokens < 60
    assert n_evaluated < 120
