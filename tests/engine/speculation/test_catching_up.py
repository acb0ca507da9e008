"""With which sequences a draft model catches up, and what it spends on trying."""

from __future__ import annotations

from typing import Any, cast

import pytest

from shared.engine.kv_cache.cells import KVEntry
from shared.engine.sequence import Sequence
from shared.engine.speculation import catching_up
from shared.engine.speculation.batch_shape import BatchShape
from shared.engine.speculation.catching_up import CatchingUp
from shared.engine.speculation.draft_context import DraftContext
from shared.engine.speculation.draft_decodes import DraftDecodes
from shared.engine.speculation.draft_rounds import Course
from shared.engine.speculation.draft_worth import DraftWorth
from shared.engine.speculation.drafting import Drafting
from shared.engine.speculation.model_rates import ModelRates

PROMPT = 100


class Decodes:
    """A context and its decodes: a token takes a second, and what is evaluated is noted."""

    n_batch = 512

    def __init__(self, *, is_unified: bool) -> None:
        self.is_unified = is_unified
        self.evaluated: list[Drafting] = []
        self.now = 0.0
        self.stall = 0.0
        self._next: Drafting | None = None

    def cost(self, n_tokens: int) -> float:
        return float(n_tokens)

    prompt_cost = cost

    def lacking_of(self, sequence: Sequence) -> int:
        drafting = next(each for each in everyone(self) if each.sequence is sequence)
        is_shared = any(
            each.sequence.request is sequence.request
            for each in self.evaluated
            if each is not drafting
        )
        return 1 if is_shared else drafting.n_lacking

    def next_piece(self, entry: KVEntry, n_tokens: int, _n_outputs: int) -> int:
        self._next = cast("Any", entry)
        return n_tokens

    def evaluate(self, pieces: list[int], _read: object) -> None:
        assert self._next is not None
        self.evaluated.append(self._next)
        self.now += sum(pieces) + self.stall


def everyone(decodes: Decodes) -> list[Drafting]:
    return cast("Any", decodes).draftings  # type: ignore[no-any-return]


class Asked:
    """What is asked of a sequence."""

    def __init__(self, request: object, n_sampled: int) -> None:
        self.request = request
        self.sampled = [0] * n_sampled
        self.n_remaining = 100


def drafting(rate: float | None, n_sampled: int = 20, request: object | None = None) -> Drafting:
    """A sequence that lacks its prompt, of which a rate is known or none."""
    rates = ModelRates(ModelRates())
    for i in range(100 if rate is not None else 0):
        rates.observe(0.9, is_accepted=i % 10 < 10 * (rate or 0))
    sequence = Asked(request or object(), n_sampled)
    found = Drafting(
        cast("Sequence", sequence), cast("Any", None), rates, 16, 16, PROMPT, Course(rates.mean)
    )
    found.entry = cast("Any", found)
    return found


class Case:
    """Sequences to catch up with, where a step takes ``plain`` seconds and rows next to nothing."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, plain: float, *draftings: Drafting, is_unified: bool
    ) -> None:
        self.decodes = Decodes(is_unified=is_unified)
        cast("Any", self.decodes).draftings = list(draftings)
        self.far = list(draftings)
        monkeypatch.setattr(catching_up, "perf_counter", lambda: self.decodes.now)
        self.shape = BatchShape((len(draftings),))
        worth = DraftWorth(lambda _: 0.0, lambda _: plain)
        worth.begin_step(self.shape, forgets=False)
        self.plain = plain
        self.catching_up = CatchingUp(
            cast("DraftContext", self.decodes), cast("DraftDecodes", self.decodes), worth, 1
        )

    def run(self, *, may_be_used: bool = True, n_steps: int = 1, n_close: int = 8) -> list[int]:
        """Which of them were caught up with."""
        for _ in range(n_steps):
            self.catching_up.begin_step(self.far, len(self.far), self.plain)
            self.catching_up.run(
                *(self.far, [], self.shape, 1e9), n_close=n_close, may_be_used=may_be_used
            )
        return [
            i for each in self.decodes.evaluated for i, one in enumerate(self.far) if one is each
        ]


def test_in_a_pool_each_is_caught_up_with_where_that_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    sure, hopeless = drafting(1.0), drafting(0.0)
    assert Case(monkeypatch, 10.0, sure, hopeless, is_unified=True).run() == [0]


def test_with_shares_it_is_all_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def caught(plain: float, *rates: float, may_be_used: bool = True) -> list[int]:
        found = [drafting(rate) for rate in rates]
        case = Case(monkeypatch, plain, *found, is_unified=False)
        return case.run(may_be_used=may_be_used)

    assert caught(50.0, 1.0, 1.0, 0.8) == [0, 1, 2]
    assert caught(50.0, 1.0, 1.0, 0.8, may_be_used=False) == []
    assert caught(2.0, 1.0, 1.0, 0.8) == []
    assert caught(1000.0, 0.0, 0.0, 0.0) == []


def test_a_few_tell_where_it_is_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    def caught(plain: float, n_sampled: int = 20) -> list[int]:
        unknown = [drafting(None, n_sampled) for _ in range(4)]
        return Case(monkeypatch, plain, *unknown, is_unified=False).run()

    assert caught(8.0) == [0, 1]
    assert caught(8.0, n_sampled=3) == []
    assert caught(1000.0) == [0, 1, 2, 3]


def test_choices_of_a_prompt_count_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    request = object()
    choices = [drafting(1.0, request=request) for _ in range(4)]
    apart = [drafting(1.0) for _ in range(4)]
    for draftings, expected in ((choices, [0]), (apart, [])):
        case = Case(monkeypatch, 2.5, *draftings, is_unified=False)
        assert case.run() == expected


def test_what_does_not_pay_has_a_small_part_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def steps(*draftings: Drafting) -> int:
        """After how many of them something is tried that takes 99 seconds."""
        case = Case(monkeypatch, 10.0, *draftings, is_unified=True)
        return next(n for n in range(1, 10_000) if case.run())

    hopeless, untold = drafting(0.0), drafting(0.0)
    untold.rates.n_observed = 0
    assert steps(hopeless, hopeless) == pytest.approx(2 * 990 / 0.25, rel=0.01)
    assert steps(untold, drafting(0.0)) == pytest.approx(2 * 990 / 0.625, rel=0.01)
    assert steps(untold) == pytest.approx(990 / 2, rel=0.01)


def test_a_stall_does_not_end_trying_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(monkeypatch, 10.0, drafting(0.0), drafting(0.0), is_unified=True)
    case.decodes.stall = 1e9
    assert case.run(n_steps=8000) == [0]
    case.decodes.stall = 0.0
    assert case.run(n_steps=64000) == [0, 0]


def test_in_small_batches_less_is_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `DraftModel` has room for few tokens of each, nobody waits until it lacks more."""
    for n_close, expected in ((4, [0]), (8, [])):
        sure = drafting(1.0)
        sure.n_lacking = 6
        case = Case(monkeypatch, 10.0, sure, is_unified=True)
        assert case.run(n_close=n_close) == expected
