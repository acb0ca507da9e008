"""Requests of all kinds whose answers are compared with and without drafts, and random drafts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest
from hypothesis import strategies as st

from shared.engine.batching.row_costs import RowCosts
from shared.engine.config import EngineConfig
from shared.engine.grammar.constraint import Constraint
from shared.engine.llama.model import Model
from shared.engine.sequence import Sequence as EngineSequence
from shared.engine.speculation.cost_estimates import CostEstimates
from shared.engine.speculation.draft import Draft
from shared.engine.speculation.options import NO_LIMITS, DraftLimits, SpeculationOptions
from shared.engine.types import GenerationRequest, SamplingParams
from tests.engine.conftest import Result
from tests.engine.exact_context import DraftKind

WORDS = [" a", " b", " c", "x", "y", "1", "2", ",", '"', "é", " the", "\n"]
SPECULATION = SpeculationOptions(n_max=6)
CONSTRAINTS = {
    "regex": '"[xy12]{3,9}"( a| b){0,20}',
    "json_schema": {"type": "array", "items": {"enum": ["x", "y", 1, 2]}, "maxItems": 9},
}


def let_any_draft_pay(patch: pytest.MonkeyPatch) -> None:
    """Rows cost nothing, nor does drafting: how long a step took must not say what is drafted."""
    patch.setattr(RowCosts, "is_known", True)
    patch.setattr(CostEstimates, "__call__", lambda cost, _n_rows: float(cost._guess is None))


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
DRAFT_LIMITS = st.one_of(
    st.just(NO_LIMITS),
    st.builds(
        DraftLimits,
        n_max=st.sampled_from([None, 0, 1, 3, 64]),
        n_min=st.sampled_from([None, None, 0, 3, 64]),
        p_min=st.sampled_from([None, 0.5, 1.0]),
    ),
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
            "drafts": DRAFT_LIMITS,
            "usage_per_output": st.booleans(),
        }
    ),
)


@dataclass(frozen=True)
class Setup:
    """An engine's sizes, and where its drafts come from.

    - ``n_cells``: of the KV cache, or of each sequence's share of it.
    - ``admits_all``: whatever the counts of cells say, so that sequences have to be preempted.
    - ``shifts``: full contexts drop old tokens.
    - ``seed``: of `RandomDrafts`; None for the speculator's own drafts.
    - ``draft_kind``: of the draft model, None for none.
    """

    n_parallel: int
    is_unified: bool
    n_cells: int
    n_batch: int
    admits_all: bool
    shifts: bool
    seed: int | None
    draft_kind: DraftKind | None

    @property
    def config(self) -> EngineConfig:
        """The engine's configuration, without drafts."""
        return EngineConfig(
            n_ctx=self.n_cells if self.is_unified else self.n_cells * self.n_parallel,
            n_parallel=self.n_parallel,
            n_batch=self.n_batch,
            kv_unified=self.is_unified,
            context_shift=self.shifts,
        )


SETUPS = st.builds(
    Setup,
    n_parallel=st.integers(1, 4),
    is_unified=st.booleans(),
    n_cells=st.sampled_from([42, 56, 80, 400]),
    n_batch=st.sampled_from([8, 32]),
    admits_all=st.booleans(),
    shifts=st.booleans(),
    seed=st.one_of(st.none(), st.none(), st.integers(0, 1000)),
    draft_kind=st.sampled_from(
        [
            None,
            DraftKind(),
            DraftKind(n_wrong=3),
            DraftKind(n_wrong=10),
            DraftKind(n_wrong=1, n_ctx_train=30),
            DraftKind(n_unknown=900),
        ]
    ),
)


class RandomDrafts:
    """Drafts in a speculator's place: the answers without drafts, right or not, and anything."""

    def __init__(self, seed: int, answers: Sequence[Result], favourites: list[int]) -> None:
        self._random = Random(seed)
        self._answers = [tuple(answer.tokens) for answer in answers]
        self._favourites = favourites

    def draft(self, sequence: EngineSequence) -> Draft | None:
        longest = SPECULATION.longest(sequence.request.drafts)
        n = self._random.randint(0, max(min(sequence.n_room - 1, longest), 0))
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
    model: Model,
    constraints: dict[str | None, Constraint | None],
    answers: Sequence[Result] | None = None,
) -> list[GenerationRequest]:
    """The cases' requests; with predictions where the answers are known."""
    words = [model.tokenize(word, add_special=False)[0] for word in WORDS]
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
