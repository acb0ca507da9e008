"""What decodes of so many rows take, learnt from few."""

from __future__ import annotations

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
    costs.observe_prompt(64, 3.0)
    assert costs.seconds(34) == 2.0


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
