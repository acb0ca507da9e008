"""What decodes of so many rows take, learnt from few."""

from __future__ import annotations

import pytest

from shared.engine.batching.row_costs import RowCosts


def test_a_number_of_rows_costs_what_it_takes_undisturbed() -> None:
    costs = RowCosts()
    for seconds in (0.9, 0.3, 0.1, 0.2, 0.7):
        costs.observe(3, seconds)
    assert costs.seconds(3) == 0.2
    assert (costs.n_observed(3), costs.n_observed(4)) == (5, 0)


def test_the_latest_steps_count() -> None:
    costs = RowCosts()
    for seconds in [1.0] * 20 + [2.0] * 9:
        costs.observe(1, seconds)
    assert costs.seconds(1) == 2.0
    assert costs.n_observed(1) == 9


def test_what_lies_between_is_interpolated() -> None:
    costs = RowCosts()
    costs.observe(2, 1.0)
    costs.observe(6, 3.0)
    assert [costs.seconds(n) for n in (2, 3, 4, 5, 6)] == [1.0, 1.5, 2.0, 2.5, 3.0]


def test_beyond_what_is_known_lie_batches_of_prompts() -> None:
    costs = RowCosts()
    costs.observe(4, 1.0)
    alone = costs.seconds(34)
    assert alone > costs.seconds(16) > costs.seconds(8) > 1.0
    costs.observe_prompt(64, 3.0 / 1.1)  # logits are taken to take a tenth
    assert costs.seconds(34) == pytest.approx(2.0)


def test_rows_cost_something_before_anything_is_known() -> None:
    costs = RowCosts()
    assert 0 < costs.seconds(1) < costs.seconds(2) < costs.seconds(16)
    costs.observe(8, 1.0)
    assert 0 < costs.seconds(1) < costs.seconds(4) < 1.0


def test_large_batches_are_not_kept_one_by_one() -> None:
    costs = RowCosts()
    costs.observe(1025, 1.0)
    assert costs.n_observed(1025) == 0


def test_drafts_of_many_sequences_are_judged_by_their_own_time() -> None:
    """A prompt's tokens have no logits, so that its batch takes less than as many rows."""
    costs = RowCosts()
    for _ in range(3):
        costs.observe(16, 8.0)
    costs.observe_prompt(512, 40.0)
    assert costs.expected(272) < 30
    for _ in range(3):
        costs.observe(272, 60.0)
    assert costs.expected(272) == 60
    assert 8 < costs.expected(144) < 60


def test_a_small_batch_of_a_prompt_says_nothing_of_more_rows() -> None:
    costs = RowCosts()
    costs.observe_prompt(64, 9.0)
    for _ in range(3):
        costs.observe(64, 4.0)
        costs.observe(272, 6.0)
    assert costs.expected(300) >= 6.0
    assert costs.seconds(300) >= 6.0


def observed(*decodes: tuple[int, float]) -> RowCosts:
    """Costs of which these decodes are well known."""
    costs = RowCosts(logits_factor=2.0)
    for n_rows, seconds in decodes:
        for _ in range(3):
            costs.observe(n_rows, seconds)
    return costs


def test_logits_are_a_part_of_what_many_rows_cost() -> None:
    costs = observed((1, 1.0))
    costs.observe_prompt(101, 10.0)
    assert costs.expected(101) == pytest.approx(2.2 * 10.0)
    assert costs.logits_factor == pytest.approx(2.2)


def test_batches_of_many_rows_tell_how_much_longer_logits_take() -> None:
    costs = observed((10, 10.0))
    costs.observe_prompt(100, 50.0)
    costs.observe(40, 40.0)
    assert costs.logits_factor == pytest.approx(2.0)
    costs.observe(40, 25.0)
    costs.observe(40, 25.0)
    assert costs.logits_factor == pytest.approx((10 + 90 / 2) / 50)
    assert costs.expected(64) == pytest.approx(25 + 24 / 2)


def test_what_a_prompt_has_of_logits_is_no_part_of_what_others_add() -> None:
    costs = observed((10, 10.0))
    costs.observe_prompt(100, 60.0, n_logits=20)  # 80 that take half a second, 20 that take a whole
    for _ in range(3):
        costs.observe(40, 40.0)
    assert costs.logits_factor == pytest.approx(2.0)
    costs = observed((1, 1.0))
    costs.observe_prompt(100, 60.0, n_logits=26)
    assert costs.expected(64) == observed((1, 1.0)).expected(64)


@pytest.mark.parametrize(("seconds", "factor"), [(1.0, 1.0), (1000.0, 4.0)])
def test_logits_take_no_less_than_nothing_and_not_all_there_is(
    seconds: float, factor: float
) -> None:
    costs = observed((10, 1.0))
    costs.observe_prompt(100, 50.0)
    for _ in range(3):
        costs.observe(40, seconds)
    assert costs.logits_factor == factor


def test_one_bad_moment_is_half_believed_and_forgotten() -> None:
    costs = observed((16, 0.1))
    costs.observe_prompt(512, 2.5)
    costs.observe(32, 3.0)
    assert costs.logits_factor == pytest.approx(1.5 * 2.2)
    for _ in range(600):
        costs.observe(16, 0.1)
    assert costs.logits_factor == pytest.approx(2.2)


def test_a_prompt_hardly_larger_than_what_is_known_says_nothing_of_more() -> None:
    """Between 64 rows and 73 tokens there is an error of what is measured, rather than a slope."""
    costs = observed((16, 97.0), (32, 184.0), (64, 345.0))
    costs.observe_prompt(73, 345.0 / 2.2)
    assert costs.expected(128) == pytest.approx(1.05 * (345 + 2 * (345 - 184)))


def test_what_is_tried_grows_step_by_step() -> None:
    costs = RowCosts()
    assert costs.n_rows_sensible == 32
    costs.observe(5, 1.0)
    assert costs.n_rows_sensible == 32
    costs.observe(17, 1.0)
    assert costs.n_rows_sensible == 34
