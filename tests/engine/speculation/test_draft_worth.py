"""What drafts of a draft model are worth, for one sequence and for all of a batch."""

from __future__ import annotations

from typing import cast

import pytest

from shared.engine.kv_cache.cells import KVEntry
from shared.engine.sequence import Sequence
from shared.engine.speculation.batch_shape import BatchShape
from shared.engine.speculation.draft_rounds import Course
from shared.engine.speculation.draft_worth import DraftWorth
from shared.engine.speculation.drafting import Drafting
from shared.engine.speculation.model_rates import ModelRates

N_LONGEST = 16


class Remaining:
    """What is asked of a sequence: how many tokens may come."""

    def __init__(self, n_remaining: int) -> None:
        self.n_remaining = n_remaining


def told(is_accepted: bool | None, n_remaining: int = 100) -> Drafting:
    """A sequence of which it is known whether drafts are accepted, or not if None."""
    rates = ModelRates(ModelRates())
    if is_accepted is not None:
        for _ in range(60):
            rates.observe(0.9, is_accepted=is_accepted)
    sequence = cast("Sequence", Remaining(n_remaining))
    entry = cast("KVEntry", None)
    return Drafting(sequence, entry, rates, N_LONGEST, N_LONGEST, 1, Course(rates.mean))


def worth(of_a_row: float, n_sequences: int = 1) -> DraftWorth:
    """Where a row more takes ``of_a_row`` of a step, and drafting next to nothing."""
    found = DraftWorth(lambda _: 0.001, lambda n_rows: 1 + of_a_row * (n_rows - 1))
    found.begin_step(BatchShape((n_sequences,)), forgets=False)
    return found


def test_what_is_accepted_saves_most_of_the_time() -> None:
    cheap = worth(0.01)
    assert cheap.seconds(told(True)) > 80
    assert cheap.seconds(told(True, n_remaining=10)) < 10
    assert cheap.seconds(told(False)) == 0


def test_gains_that_may_be_errors_save_nothing() -> None:
    assert worth(0.97).seconds(told(True)) == 0


def test_what_is_unknown_is_like_what_came_before() -> None:
    found = worth(0.2)
    for is_accepted in (True, True, False, False):
        found.add(told(is_accepted).rates)
    known = found.seconds(told(True))
    assert found.seconds(told(None)) == pytest.approx(known / 2, rel=0.02)


def test_one_length_saves_less_than_everybody_s_own() -> None:
    found = worth(0.2, n_sequences=2)
    both = [told(True), told(False)]
    apart = sum(found.seconds(each) for each in both)
    assert 0 <= found.common_seconds(both) < apart


def test_a_few_tell_of_all_others_of_their_batch() -> None:
    found = worth(0.01, n_sequences=3)
    for _ in range(16):
        found.add(told(False).rates)
    batch = [told(True), told(True), told(None)]
    assert found.common_seconds(batch) > 200
    assert found.common_seconds([told(None)] * 3) == 0


def test_estimates_are_those_of_a_step_s_shape_and_costs() -> None:
    a_row = 0.01
    found = DraftWorth(lambda _: 0.001, lambda n_rows: 1 + a_row * (n_rows - 1))
    found.begin_step(BatchShape((1,)), forgets=False)
    cheap = found.seconds(told(True))
    found.begin_step(BatchShape((1, 1)), forgets=False)
    assert found.seconds(told(True)) == pytest.approx(2 * cheap)
    a_row = 0.97
    assert found.seconds(told(True)) > cheap
    found.begin_step(BatchShape((1, 1)), forgets=True)
    assert found.seconds(told(True)) == 0
