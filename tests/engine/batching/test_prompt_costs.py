"""What calls that evaluate prompts take, learnt from them."""

from __future__ import annotations

import random

import pytest

from shared.engine.batching.prompt_costs import PromptCosts
from tests.engine.batching.test_prompt_groups import grouped


def test_a_call_and_a_token_are_told_apart() -> None:
    rng = random.Random(1)
    costs = PromptCosts()
    for _ in range(100):
        n_tokens = rng.randrange(6, 34)
        late = 0.01 if rng.random() < 0.15 else 0.0  # what else runs on the machine
        costs.observe(1, n_tokens, (100 + 15 * n_tokens) * 1e-6 + late)
    costs.update()
    assert costs.token_seconds == pytest.approx(15e-6, rel=0.1)
    assert costs.call_tokens == pytest.approx(100 / 15, rel=0.2)


def test_calls_of_one_length_tell_nothing() -> None:
    costs = PromptCosts()
    for _ in range(100):
        costs.observe(1, 17, 1e-3)
    costs.update()
    assert costs.token_seconds is None
    assert grouped({0: 17, 1: 17}, costs.call_tokens) == [[0, 1]]


def test_joint_calls_that_take_as_long_as_single_ones_end_them() -> None:
    costs = PromptCosts()
    for _ in range(50):
        costs.observe(1, 17, 17e-5)
        costs.observe(2, 34, 34e-5)
    costs.update()
    assert costs.call_tokens == pytest.approx(0, abs=1e-6)
    assert grouped({0: 17, 1: 16}, costs.call_tokens) == [[0], [1]]


def test_tokens_that_cost_nothing_leave_a_finite_number() -> None:
    costs = PromptCosts()
    for n_tokens in range(100):
        costs.observe(1, n_tokens, 5e-3)
    costs.update()
    assert grouped({0: 17, 1: 33}, costs.call_tokens) == [[0, 1]]


def test_long_prompts_do_not_count() -> None:
    """Their attention grows with the square of their length."""
    costs = PromptCosts()
    for n_tokens in range(20, 50):
        costs.observe(1, n_tokens, 1e-3 + 1e-4 * n_tokens)
        costs.observe(1, 512, 1.0)
        costs.observe(4, 4 * n_tokens, 1e-3 + 4e-4 * n_tokens)
    costs.update()
    assert costs.call_tokens == pytest.approx(10)


def test_the_latest_calls_count() -> None:
    costs = PromptCosts()
    for n_tokens in [*range(100), *range(128)]:
        costs.observe(1, n_tokens, 1e-3 + 1e-6 * n_tokens)
    costs.update()
    for n_tokens in range(128):
        costs.observe(1, n_tokens, 1e-3 + 1e-4 * n_tokens)
    costs.update()
    assert costs.call_tokens == pytest.approx(10)
