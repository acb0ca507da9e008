"""Speculative decoding: whatever is drafted, the answers are those without drafts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.engine.config import EngineConfig
from shared.engine.grammar.compiler import ConstraintCompiler
from shared.engine.grammar.constraint import Constraint
from shared.engine.grammar.grammar import grammar
from shared.engine.llama.model import Model
from shared.engine.row_costs import RowCosts
from shared.engine.scheduler import Scheduler
from shared.engine.sequence import Sequence as EngineSequence
from shared.engine.speculation.cost_estimates import CostEstimates
from shared.engine.speculation.draft import Draft
from shared.engine.speculation.options import SpeculationOptions
from shared.engine.speculation.speculator import Speculator
from shared.engine.types import GenerationRequest, SamplingParams
from tests.engine.conftest import CheckedEngine, Result, run
from tests.engine.exact_context import DraftKind, exact_contexts, exact_draft_contexts
from tests.sweeps import examples

WORDS = [" a", " b", " c", "x", "y", "1", "2", ",", '"', "é", " the", "\n"]
CONSTRAINTS = {
    "regex": '"[xy12]{3,9}"( a| b){0,20}',
    "json_schema": {"type": "array", "items": {"enum": ["x", "y", 1, 2]}, "maxItems": 9},
}
SPECULATION = SpeculationOptions(n_max=6)
MODEL_ONLY = replace(SPECULATION, looks_up=False)
DRAFT_KINDS = [
    None,
    DraftKind(),
    DraftKind(n_wrong=3),
    DraftKind(n_wrong=10),
    DraftKind(n_wrong=1, n_ctx_train=30),
    DraftKind(n_unknown=900),
]


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
    """Rows cost nothing, nor does drafting: how long a step took must not say what is drafted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RowCosts, "is_known", True)
        patch.setattr(CostEstimates, "__call__", lambda cost, _n_rows: float(cost._guess is None))
        yield


@dataclass(frozen=True)
class Case:
    """A request, without what it takes a model to make."""

    prompt: tuple[int, ...]
    constraint: str | None
    prediction: str
    fields: dict[str, Any]


SAMPLING = st.builds(
    SamplingParams,
    seed=st.integers(0, 5),
    temperature=st.sampled_from([0.0, 0.0, 0.3, 1.0]),
    top_k=st.sampled_from([0, 0, 3]),
    top_p=st.sampled_from([1.0, 0.8]),
    presence_penalty=st.sampled_from([0.0, 0.0, 0.6]),
    frequency_penalty=st.sampled_from([0.0, 0.0, 0.4]),
    repeat_penalty=st.sampled_from([1.0, 1.0, 1.2]),
    repeat_last_n=st.sampled_from([-1, 5]),
    dry_multiplier=st.sampled_from([0.0, 0.0, 1.0]),
    xtc_probability=st.sampled_from([0.0, 0.0, 0.5]),
    mirostat=st.sampled_from([0, 0, 0, 1, 2]),
    ignore_eos=st.booleans(),
    min_tokens=st.sampled_from([0, 0, 7]),
)
CASES = st.builds(
    Case,
    prompt=st.lists(st.integers(0, len(WORDS) - 1), min_size=1, max_size=40).map(tuple),
    constraint=st.sampled_from([None, None, *CONSTRAINTS]),
    prediction=st.sampled_from(["none", "right", "edited", "longer", "other", "unknown tokens"]),
    fields=st.fixed_dictionaries(
        {
            "max_tokens": st.sampled_from([1, 2, 12, 24, 24]),
            "sampling": SAMPLING,
            "n": st.integers(1, 3),
            "stop": st.sampled_from([(), (), ("x,",), (" a b", "\n\n"), ("é",)]),
            "top_logprobs": st.sampled_from([None, None, 0, 2]),
            "prompt_logprobs": st.booleans(),
            "cache_prompt": st.sampled_from([True, True, False]),
            "usage_per_output": st.booleans(),
        }
    ),
)


class RandomDrafts:
    """Drafts in a speculator's place: the answers without drafts, right or not, and anything."""

    def __init__(self, seed: int, answers: Sequence[Result], favourites: list[int]) -> None:
        self._random = Random(seed)
        self._answers = [tuple(answer.tokens) for answer in answers]
        self._favourites = favourites

    def draft(self, sequence: EngineSequence) -> Draft | None:
        n_most = sequence.n_remaining - 1
        n = self._random.randint(0, min(n_most, 6))
        if n < 1 or not sequence.sampled:
            return None
        so_far = tuple(sequence.sampled)
        tokens = list(self._random.choice([a for a in self._answers if a[: len(so_far)] == so_far]))
        tokens = tokens[len(so_far) :][:n] + self._random.choices(self._favourites, k=n)
        tokens = tokens[:n]
        if self._random.random() < 0.4:
            tokens[self._random.randrange(n)] = self._random.choice(self._favourites)
        return Draft(tokens, [0.9] * n, is_predicted=self._random.random() < 0.5)


def requests_of(
    cases: Sequence[Case],
    words: list[int],
    constraints: dict[str | None, Constraint | None],
    answers: Sequence[Result] | None = None,
) -> list[GenerationRequest]:
    """The cases' requests; with predictions where the answers are known."""
    requests: list[GenerationRequest] = []
    n = 0
    for case in cases:
        fields = dict(case.fields)
        if fields["prompt_logprobs"] and fields["top_logprobs"] is None:
            fields["prompt_logprobs"] = False
        request = GenerationRequest(
            prompt=[words[i] for i in case.prompt],
            constraint=constraints[case.constraint],
            return_tokens=True,
            **fields,
        )
        if answers is not None:
            answer = answers[n].tokens
            request = replace(request, prediction=predicted(case.prediction, answer, words))
        requests.append(request)
        n += request.n
    return requests


def predicted(kind: str, answer: list[int], words: list[int]) -> tuple[int, ...]:
    half = len(answer) // 2
    return {
        "none": (),
        "right": tuple(answer),
        "edited": (*answer[:half], words[0], *answer[half + 1 :]),
        "longer": (*answer, *words, *answer),
        "other": tuple(words),
        "unknown tokens": (2**31 - 1, 0, 1),
    }[kind]


def shown(result: Result) -> tuple[object, ...]:
    """All of a result that a caller sees, but for how long it took."""
    usage = result.cost
    return (
        result.text,
        result.tokens,
        result.finish_reason,
        result.stop,
        result.error,
        result.logprobs,
        result.prompt_logprobs,
        (usage.prompt_tokens, usage.completion_tokens),
    )


@pytest.mark.slow
@settings(
    derandomize=True,
    deadline=None,
    max_examples=examples(300),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    cases=st.lists(CASES, min_size=1, max_size=5),
    n_parallel=st.integers(1, 4),
    is_unified=st.booleans(),
    n_cells=st.sampled_from([42, 56, 80, 400]),
    n_batch=st.sampled_from([8, 32]),
    admits_all=st.booleans(),
    seed=st.one_of(st.none(), st.none(), st.integers(0, 1000)),
    draft_kind=st.sampled_from(DRAFT_KINDS),
    shifts=st.booleans(),
)
def test_answers_are_those_without_drafts(
    model: Model,
    constraints: dict[str | None, Constraint | None],
    favourites: list[int],
    any_draft_pays: None,
    cases: list[Case],
    n_parallel: int,
    is_unified: bool,
    n_cells: int,
    n_batch: int,
    admits_all: bool,
    seed: int | None,
    draft_kind: DraftKind | None,
    shifts: bool,
) -> None:
    """With the speculator's own drafts where there is no ``seed``, else with random ones.

    ``admits_all``: whatever the counts of cells say, so that sequences have to be preempted.
    ``draft_kind``: of the draft model, None for none. ``shifts``: full contexts drop old tokens.
    """
    words = [model.tokenize(word, add_special=False)[0] for word in WORDS]
    config = EngineConfig(
        n_ctx=n_cells if is_unified else n_cells * n_parallel,
        n_parallel=n_parallel,
        n_batch=n_batch,
        kv_unified=is_unified,
        context_shift=shifts,
    )
    plain = requests_of(cases, words, constraints)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shared.engine.engine.new_context", exact_contexts(favourites))
        if admits_all:
            patch.setattr(Scheduler, "_likely_fits", lambda *_: True)
        expected, _ = served(model, config, plain)
        drafted = requests_of(cases, words, constraints, expected)
        if seed is not None:
            drafts = RandomDrafts(seed, expected, favourites)
            patch.setattr(Speculator, "_draft", lambda _self, sequence: drafts.draft(sequence))
        if draft_kind is not None:
            contexts = exact_draft_contexts(favourites, draft_kind)
            patch.setattr("shared.engine.speculation.setup.new_draft_context", contexts)
        speculating = replace(config, speculation=SPECULATION)
        draft_model = model if draft_kind is not None else None
        found, engine = served(model, speculating, drafted, n_times=2, draft_model=draft_model)

    for results in (found[: len(expected)], found[len(expected) :]):
        assert [shown(each) for each in results] == [shown(each) for each in expected]
    for result in found:
        usage = result.cost
        assert 0 <= usage.accepted_draft_tokens <= usage.draft_tokens
        assert usage.accepted_draft_tokens < max(usage.completion_tokens, 1)
        assert 0 <= usage.accepted_prediction_tokens <= usage.prediction_tokens
        assert usage.accepted_prediction_tokens <= usage.accepted_draft_tokens
    stats = engine.stats()
    assert stats.draft_tokens == sum(each.cost.draft_tokens for each in found)
    assert stats.accepted_draft_tokens == sum(each.cost.accepted_draft_tokens for each in found)


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
        results, engine = served(model, config, asked, draft_model=model)
    usage = [(each.cost.completion_tokens, each.cost.accepted_draft_tokens) for each in results]
    assert all(n == 49 and n_accepted > 35 for n, n_accepted in usage)
    assert engine.stats().steps < 49 / 3


def served(
    model: Model,
    config: EngineConfig,
    requests: list[GenerationRequest],
    n_times: int = 1,
    draft_model: Model | None = None,
) -> tuple[list[Result], CheckedEngine]:
    """The requests' results on a new engine, ``n_times`` one after the other."""
    engine = CheckedEngine(model, config, None, draft_model)
    engine.start()
    results = [result for _ in range(n_times) for result in run(engine, *requests)]
    engine.stop()
    if engine.integrity_error is not None:
        raise engine.integrity_error
    return results, engine
