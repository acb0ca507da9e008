"""Rounds of a draft model: how many pay, by what is accepted and what they cost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.engine.batching.row_costs import RowCosts
from shared.engine.speculation.cost_estimates import CostEstimates
from shared.engine.speculation.draft_rounds import Course, best_rounds
from shared.engine.speculation.model_rates import ModelRates


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
        for _ in range(3):
            costs.observe(4, 9.0)
        assert estimates.begin_step()
        before = estimates(4)
        for _ in range(9):
            costs.observe(4, 3.0)
        assert (estimates.begin_step(), estimates(4)) == (False, before)
        while not estimates.begin_step():
            pass
        assert estimates(4) == 3.0

    def test_the_first_tries_of_a_number_change_them_at_once(self) -> None:
        costs = RowCosts()
        estimates = CostEstimates(costs)
        assert estimates.begin_step()
        for seconds in (9.0, 8.0, 7.0):
            costs.observe(4, seconds)
            assert estimates.begin_step()
        costs.observe(4, 6.0)
        assert not estimates.begin_step()
