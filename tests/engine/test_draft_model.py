"""Draft model: which models can be one, how much it drafts, what it learns, and what it is let do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from shared.engine.config import EngineConfig
from shared.engine.engine import Engine
from shared.engine.llama import context_fit
from shared.engine.llama.context import Context
from shared.engine.llama.context_fit import new_context
from shared.engine.llama.errors import LlamaError
from shared.engine.llama.model import Model
from shared.engine.row_costs import RowCosts
from shared.engine.speculation.compatibility import draft_problem
from shared.engine.speculation.cost_estimates import CostEstimates
from shared.engine.speculation.draft_context import DraftContext
from shared.engine.speculation.draft_rounds import Course, best_rounds
from shared.engine.speculation.model_rates import ModelRates
from shared.engine.speculation.options import DraftLimits, SpeculationOptions
from tests.engine.conftest import LONG, POOL, SHARE, CheckedEngine, chat, request, run
from tests.engine.exact_context import DraftKind, exact_contexts, exact_draft_contexts
from tests.engine.test_context_size import set_free
from tests.models.recurrent_models import write_mamba
from tests.models.sentencepiece import write_sentencepiece
from tests.models.variant import write_variant

SPECULATION = SpeculationOptions(looks_up=False, has_draft_model=True)
COUNT = "Count from 1 to 20"


class TestCompatibility:
    """A draft model has the vocabulary of the model that it drafts for, and no recurrent state."""

    def test_a_model_can_draft_for_itself(self, model: Model) -> None:
        assert draft_problem(model, model) is None

    def test_a_recurrent_state_cant_be_cut_back(self, model: Model, tmp_path: Path) -> None:
        mamba = Model(write_mamba(tmp_path / "mamba.gguf"))
        assert "it has a recurrent state" in (draft_problem(model, mamba) or "")
        assert "the model that it drafts for has a recurrent" in (draft_problem(mamba, model) or "")
        mamba.close()

    def test_another_kind_of_vocabulary(self, model: Model, tmp_path: Path) -> None:
        other = Model(write_sentencepiece(tmp_path / "other.gguf", "llama"))
        assert "it is of another type" in (draft_problem(model, other) or "")
        other.close()

    def test_another_beginning_of_prompts(self, model: Model, tmp_path: Path) -> None:
        metadata = {"tokenizer.ggml.add_bos_token": not model.adds_bos}
        other = Model(write_variant(tmp_path / "other.gguf", metadata))
        assert "one of them adds BOS to prompts" in (draft_problem(model, other) or "")
        other.close()

    @pytest.mark.parametrize(
        ("n_more", "problem"), [(0, None), (128, None), (129, "it has 1409 tokens instead of 1280")]
    )
    def test_a_few_more_tokens_make_no_difference(
        self, model: Model, monkeypatch: pytest.MonkeyPatch, n_more: int, problem: str | None
    ) -> None:
        other = Model(model.path)
        monkeypatch.setattr(model, "n_vocab", 1280)
        monkeypatch.setattr(other, "n_vocab", 1280 + n_more)
        found = draft_problem(model, other)
        other.close()
        assert (found or "").endswith(problem or "")
        assert (found is None) == (problem is None)

    def test_other_tokens(self, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        import llama_cpp.llama_cpp as lib

        other = Model(model.path)
        text = lib.llama_vocab_get_text
        monkeypatch.setattr(
            lib,
            "llama_vocab_get_text",
            lambda vocab, i: b"x" if vocab == other.vocab and i == 300 else text(vocab, i),
        )
        found = draft_problem(model, other) or ""
        other.close()
        assert "token 300 is 'x' instead of" in found


def per_row(slope: float, round_cost: float) -> Callable[[int], float]:
    return lambda n: 1 + slope * n + round_cost * n


class TestRounds:
    """As many rounds as make the sequences fastest, by what rounds and rows take."""

    def test_likely_tokens_of_a_cheap_model_are_drafted(self) -> None:
        n, gain = best_rounds([Course(0.9)], 1, per_row(0.05, 0.05), 16)
        assert 4 < n < 16
        assert gain > 0

    @pytest.mark.parametrize(("rate", "round_cost"), [(0.9, 1.0), (0.05, 0.1)])
    def test_dear_or_unlikely_ones_are_not(self, rate: float, round_cost: float) -> None:
        assert best_rounds([Course(rate)], 1, per_row(0.05, round_cost), 16) == (0, 0.0)

    def test_others_in_the_batch_wait_for_it(self) -> None:
        assert best_rounds([Course(0.8)], 1, per_row(0.1, 0.1), 16)[0] > 0
        assert best_rounds([Course(0.8)], 8, per_row(0.1, 0.1), 16)[0] == 0

    def test_what_was_drafted_counts(self) -> None:
        course = Course(0.8)
        first = best_rounds([course], 1, per_row(0.2, 0.1), 16)[0]
        assert [course.add(0.5), course.add(0.5)] == [0.5, 0.25]
        assert course.expected == 1.75
        assert best_rounds([course], 1, per_row(0.2, 0.1), 16)[0] < first


class TestRates:
    """What is accepted is learnt for each sequence, and what is usual for the next ones."""

    def test_sure_tokens_are_trusted_more(self) -> None:
        rates = ModelRates()
        assert rates.rate(0.1) < rates.rate(0.6) < rates.rate(0.999)

    def test_guesses_are_compared_up_to_the_first_wrong_one(self) -> None:
        usual = ModelRates()
        rates = ModelRates(usual)
        before = rates.mean
        for token in (7, 8, 9):
            rates.guess(1, token, 0.6)
        rates.compare([1, 7, 5, 9])
        assert rates.mean < before
        one_of_two = ModelRates(ModelRates())
        one_of_two.observe(0.6, is_accepted=True)
        one_of_two.observe(0.6, is_accepted=False)
        assert (rates.mean, rates.rate(0.6)) == (one_of_two.mean, one_of_two.rate(0.6))
        assert usual.mean != ModelRates().mean

    def test_what_was_not_sampled_yet_tells_nothing(self) -> None:
        rates = ModelRates(ModelRates())
        before = rates.mean
        rates.guess(2, 7, 0.6)
        rates.compare([1, 2])
        assert rates.mean == before

    def test_sequences_begin_with_what_is_usual(self) -> None:
        usual = ModelRates()
        for _ in range(300):
            ModelRates(usual).observe(0.9, is_accepted=False)
        assert ModelRates(usual).mean < 0.15
        assert ModelRates(usual).rate(0.9) < 0.15

    def test_what_is_usual_fades(self) -> None:
        usual = ModelRates()
        for _ in range(300):
            usual.observe(0.9, is_accepted=False)
        rates = ModelRates(usual)
        for _ in range(40):
            rates.observe(0.9, is_accepted=True)
        assert min(rates.mean, rates.rate(0.9)) > 0.95


class TestCostEstimates:
    """What was hardly tried is guessed so that few numbers of rows have to be tried."""

    def estimates(self, *rows: int) -> CostEstimates:
        costs = RowCosts()
        for n_rows in rows * 3:
            costs.observe(n_rows, float(n_rows))
        estimates = CostEstimates(costs, lambda n_rows: 100.0 * n_rows)
        estimates.begin_step()
        return estimates

    def test_untried_numbers_are_as_slow_as_what_is_computed_at_once(self) -> None:
        estimates = self.estimates(1, 8)
        assert estimates(5) == estimates(6) == estimates(7) == estimates(8) == 8
        assert estimates(1) == 1

    def test_tried_ones_have_costs_of_their_own(self) -> None:
        assert self.estimates(1, 5, 8)(5) == 5

    def test_before_anything_is_known_there_is_a_guess(self) -> None:
        estimates = self.estimates()
        assert not estimates.are_known
        assert estimates(3) == 300

    def test_they_hold_for_some_steps(self) -> None:
        costs = RowCosts()
        estimates = CostEstimates(costs)
        assert estimates.begin_step()
        before = estimates(4)
        for _ in range(3):
            costs.observe(4, 9.0)
        assert (estimates.begin_step(), estimates(4)) == (False, before)
        while not estimates.begin_step():
            pass
        assert estimates(4) == 9.0


@pytest.fixture
def _drafting_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RowCosts, "is_known", True)
    monkeypatch.setattr(CostEstimates, "__call__", lambda cost, _n: float(cost._guess is None))


@pytest.fixture(params=[True, False], ids=["pool", "shares"])
def make_drafting(model: Model, request: pytest.FixtureRequest) -> Iterator[Callable[..., Engine]]:
    """Makes running engines whose draft model is the model itself."""
    engines: list[CheckedEngine] = []

    def make(options: SpeculationOptions = SPECULATION, n_batch: int = 512) -> Engine:
        n_ctx = POOL if request.param else SHARE * 3
        config = EngineConfig(
            n_ctx=n_ctx,
            n_parallel=3,
            n_batch=n_batch,
            n_threads=1,
            kv_unified=request.param,
            speculation=options,
        )
        engine = CheckedEngine(model, config, None, model)
        engine.start()
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.stop()
        if engine.integrity_error is not None:
            raise engine.integrity_error


@pytest.mark.usefixtures("_drafting_is_free")
class TestEngines:
    """Engines with the model itself as its draft model."""

    def test_answers_are_the_same_in_fewer_steps(
        self, make_drafting: Callable[..., Engine], model: Model
    ) -> None:
        asked = [request(chat(model, question)) for question in (COUNT, "Count from 5 to 30")]
        plain = make_drafting(SpeculationOptions(looks_up=False))
        speculating = make_drafting()
        expected, found = run(plain, *asked), run(speculating, *asked)
        assert [each.text for each in found] == [each.text for each in expected]
        assert speculating.stats().accepted_draft_tokens > 64
        assert speculating.draft_types == "draft-simple"

    def test_improbable_tokens_are_not_drafted(
        self, make_drafting: Callable[..., Engine], model: Model
    ) -> None:
        engine = make_drafting(SpeculationOptions(looks_up=False, p_min=1.0))
        run(engine, request(chat(model, "Tell me a story")))
        sure = engine.stats().draft_tokens
        engine = make_drafting()
        run(engine, request(chat(model, "Tell me a story")))
        assert sure < engine.stats().draft_tokens

    def test_short_drafts_are_not_used(
        self, make_drafting: Callable[..., Engine], model: Model
    ) -> None:
        engine = make_drafting(SpeculationOptions(looks_up=False, n_max=3, n_min=3))
        (answer,) = run(engine, request(chat(model, COUNT), 42))
        assert answer.cost.draft_tokens % 3 == 0
        assert answer.cost.draft_tokens > 0

    def test_a_request_asks_for_shorter_drafts_or_none(
        self, make_drafting: Callable[..., Engine], model: Model
    ) -> None:
        engine = make_drafting(SpeculationOptions(looks_up=False, n_max=3))
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
        self, make_drafting: Callable[..., Engine], model: Model
    ) -> None:
        engine = make_drafting()
        story = request(chat(model, "Tell me a story"))
        anything, sure = (
            run(engine, replace(story, drafts=limits))[0].cost.draft_tokens
            for limits in (DraftLimits(), DraftLimits(p_min=1.0))
        )
        assert sure < anything

    def test_long_prompts_are_evaluated_in_batches(
        self, make_drafting: Callable[..., Engine], model: Model
    ) -> None:
        engine = make_drafting(n_batch=64)
        prompt = chat(model, "What is the capital of France? " * 30 + COUNT)
        assert len(prompt) > 3 * 64
        (answer,) = run(engine, request(prompt))
        assert answer.cost.accepted_draft_tokens > 0

    def test_a_draft_model_that_fails_is_left(
        self,
        make_drafting: Callable[..., Engine],
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
    monkeypatch.setattr(
        CostEstimates,
        "__call__",
        lambda cost, n: (0.9 + 0.1 * n) * (1, 0.1)[cost._guess is not None],
    )
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
    config = EngineConfig(n_ctx=1024, n_parallel=1, kv_unified=True, speculation=SPECULATION)
    engine = CheckedEngine(model, config, None, model)
    engine.start()
    (answer,) = run(engine, request([100, 101, 102], 800, sampling=LONG))
    engine.stop()
    assert answer.cost.completion_tokens == 800
    assert 0 < answer.cost.draft_tokens < 60
    assert n_evaluated < 120


class TestMemory:
    """Both contexts have to fit."""

    @pytest.fixture(autouse=True)
    def _alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let other tests' servers in this process have no models."""
        monkeypatch.setattr(context_fit, "others", lambda _: [])
        monkeypatch.setattr(context_fit, "mapped_by_others", lambda _: 0)

    def test_a_draft_models_context_makes_both_shorter(
        self, model: Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        set_free(monkeypatch, 220 * 2**20)
        config = EngineConfig(n_parallel=4)
        alone, _ = new_context(model, config)
        beside, _ = new_context(model, config, model)
        n_ctx = alone.n_ctx, beside.n_ctx
        alone.close()
        beside.close()
        assert n_ctx[1] < 0.6 * n_ctx[0]

    def test_what_does_not_fit_is_refused(
        self, model: Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = EngineConfig(n_parallel=4, n_ctx=12288)
        set_free(monkeypatch, 220 * 2**20)
        new_context(model, config)[0].close()
        with pytest.raises(LlamaError, match="12288 tokens does not fit"):
            new_context(model, config, model)

    def test_no_context_is_left_where_a_draft_models_cant_be_made(
        self, model: Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise LlamaError("can't create a context")

        closed: list[Context] = []
        close = Context.close
        monkeypatch.setattr("shared.engine.speculation.setup.new_draft_context", fail)

        def note_and_close(context: Context) -> None:
            closed.append(context)
            close(context)

        monkeypatch.setattr(Context, "close", note_and_close)
        config = EngineConfig(n_parallel=1, n_ctx=256, speculation=SPECULATION)
        with pytest.raises(LlamaError, match="can't create a context"):
            Engine(model, config, None, model)
        assert any(each.n_ctx == 256 and each.n_batch > 1 for each in closed)
