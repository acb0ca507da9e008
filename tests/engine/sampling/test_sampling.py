"""Sampling: distributions, bans, bias, seeds, log probabilities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shared.engine.sampling.inverse_transform import InverseTransform
from shared.engine.sampling.logit_bias import LogitBias
from shared.engine.sampling.logprobs import LogprobRow
from shared.engine.sampling.sampler import Sampler, mix
from shared.engine.types import SamplingParams
from tests.engine.sampling.distributions import (
    DEFAULT,
    LOGITS,
    batch_sampler_of,
    distance,
    draw,
    only,
    random_logits,
    softmax,
)

SELECTIONS: list[dict[str, Any]] = [
    {"temperature": 0},
    {},
    {"temperature": 0.3},
    {"top_k": 3},
    {"top_p": 0.9},
    {"min_p": 0.05},
    {"typical_p": 0.9},
    {"xtc_probability": 1, "xtc_threshold": 0},
    {"xtc_probability": 0.5, "top_k": 4},
    {"xtc_probability": 0.5, "temperature": 0},
    {"mirostat": 1},
    {"mirostat": 2},
]
"""A request for every way to select a token."""


@pytest.mark.sweep(1)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_tokens_come_with_the_models_probabilities(temperature: float) -> None:
    counts = draw(LOGITS, replace(DEFAULT, temperature=temperature))

    assert distance(counts, softmax(LOGITS, temperature)) < 0.03


@pytest.mark.parametrize("all_of_them", [-200, -112, -80, 0, 80, 200])
@pytest.mark.parametrize("n_vocab", [8192, 8193, 20_000, 152_064])
def test_block_sums_pick_the_token_that_a_full_cumulative_sum_picks(
    n_vocab: int, all_of_them: float
) -> None:
    """However large or small all logits are."""
    logits = np.random.default_rng(3).normal(all_of_them, 3, n_vocab).astype(np.float32)
    cumulative = softmax(logits).cumsum()
    batch_sampler = batch_sampler_of(n_vocab)

    for seed in range(50):
        sampler = Sampler(replace(DEFAULT, seed=seed))
        position = sampler.uniform()
        (token,) = batch_sampler.sample(logits[None, :].copy(), [sampler])
        low, high = (cumulative[token - 1] if token else 0), cumulative[token]
        assert low - 1e-4 <= position <= high + 1e-4


def test_rows_are_sampled_as_they_are_alone() -> None:
    rows = np.random.default_rng(1).normal(0, 2, (20, len(SELECTIONS), 500)).astype(np.float32)
    params = [
        replace(DEFAULT, seed=seed, dry_multiplier=1, logit_bias=LogitBias({7: 2}), **fields)
        for seed, fields in enumerate(SELECTIONS)
    ]
    batch_sampler = batch_sampler_of(500)
    alone = []
    for i, p in enumerate(params):
        sampler = Sampler(p)
        alone.append([batch_sampler.sample(row[i : i + 1].copy(), [sampler])[0] for row in rows])

    samplers = [Sampler(p) for p in params]
    together = [batch_sampler.sample(row.copy(), samplers) for row in rows]

    assert [list(tokens) for tokens in zip(*together, strict=True)] == alone


@pytest.mark.parametrize("n_vocab", [200, 8193, 20_000])
@pytest.mark.parametrize("fields", SELECTIONS)
def test_impossible_tokens_are_never_sampled(n_vocab: int, fields: dict[str, Any]) -> None:
    row = np.full(n_vocab, -np.inf, dtype=np.float32)
    possible = {0, 70, n_vocab // 2, n_vocab - 1}
    row[list(possible)] = [1, 0, -200, 2]
    batch_sampler = batch_sampler_of(n_vocab)

    with np.errstate(all="raise", under="ignore"):
        tokens = {
            token
            for seed in range(40)
            for token in batch_sampler.sample(
                np.tile(row, (5, 1)),
                [Sampler(replace(DEFAULT, seed=seed, **fields), i) for i in range(5)],
            )
        }

    assert tokens <= possible


@pytest.mark.parametrize("uniform", [0.0, 2**-53, 0.5, 1 - 2**-25, 1 - 2**-53])
@pytest.mark.parametrize("n_vocab", [200, 8193, 20_000])
def test_no_random_number_draws_an_impossible_token(n_vocab: int, uniform: float) -> None:
    for possible in (0, n_vocab // 3, n_vocab - 1):
        row = np.full(n_vocab, -np.inf, dtype=np.float32)
        row[possible] = 3

        assert InverseTransform(n_vocab).draw(row, 1.0, uniform) == possible
        rows = np.tile(row, (4, 1))
        assert InverseTransform(n_vocab).draw_rows(rows, [1.0] * 4, [uniform] * 4) == [possible] * 4


@pytest.mark.parametrize("n_vocab", [63, 1280, 8192])
def test_rows_drawn_together_are_drawn_as_alone(n_vocab: int) -> None:
    transform = InverseTransform(n_vocab)
    for n_rows in (5, 2, 7):  # fewer than there is memory for, and more
        rows = np.stack([random_logits(n_vocab, seed) for seed in range(n_rows)])
        rows += np.array([0, 200, -200, 0, 80, -60, 30][:n_rows], dtype=np.float32)[:, None]
        temperatures = [1.0, 0.5, 2.0, 0.7, 1.0, 1.0, 1.0][:n_rows]
        uniforms = [0.1, 0.5, 0.9, 0.3, 0.7, 0.2, 0.6][:n_rows]
        alone = [
            transform.draw(row, temperature, uniform)
            for row, temperature, uniform in zip(rows, temperatures, uniforms, strict=True)
        ]

        with np.errstate(over="ignore"):
            together = transform.draw_rows(rows, temperatures, uniforms)

        assert together == alone


@pytest.mark.slow
def test_few_possible_tokens_come_with_their_probabilities() -> None:
    row = np.full(152_064, -np.inf, dtype=np.float32)
    row[[5, 512, 100_000]] = [1, 0, 2]

    counts = draw(row, DEFAULT, 1000)

    expected = only(softmax(row), [5, 512, 100_000])
    assert distance(counts, expected) < 0.03


@pytest.mark.parametrize("n_vocab", [200, 20_000])
def test_zero_temperature_takes_the_likeliest(n_vocab: int) -> None:
    rows = np.stack([random_logits(n_vocab, seed) for seed in range(50)])
    samplers = [Sampler(replace(DEFAULT, seed=seed, temperature=0)) for seed in range(50)]

    tokens = batch_sampler_of(n_vocab).sample(rows.copy(), samplers)

    assert tokens == rows.argmax(axis=1).tolist()


def test_a_bias_of_minus_100_bans_and_100_forces() -> None:
    extreme = np.array([300.0, 0.0, -50.0], dtype=np.float32)

    assert 0 not in draw(extreme, replace(DEFAULT, logit_bias=LogitBias({0: -100})), 500)
    assert draw(LOGITS, replace(DEFAULT, logit_bias=LogitBias({5: 100})), 500) == {5: 500}


@pytest.mark.sweep(2)
@pytest.mark.parametrize("fields", SELECTIONS)
def test_a_bias_decides_whatever_selects(fields: dict[str, Any]) -> None:
    logits = random_logits(500)
    likeliest = int(logits.argmax())
    banned = replace(DEFAULT, logit_bias=LogitBias({likeliest: -100, 5: -100}), **fields)
    forced = replace(DEFAULT, logit_bias=LogitBias({likeliest: -100, 5: 100}), **fields)

    assert not {likeliest, 5} & set(draw(logits, banned, 200))
    assert set(draw(logits, forced, 200)) == {5}


@pytest.mark.parametrize("end", [{}, {"ignore_eos": True}, {"min_tokens": 5}])
@pytest.mark.parametrize("fields", SELECTIONS)
def test_a_sequence_that_may_say_nothing_ends(fields: dict[str, Any], end: dict[str, Any]) -> None:
    params = replace(DEFAULT, logit_bias=LogitBias(dict.fromkeys(range(6), -100)), **fields, **end)

    with np.errstate(all="raise", under="ignore"):
        assert set(draw(LOGITS, params, 20)) <= {1, 3}


def test_a_bias_is_added_before_anything_else() -> None:
    counts = draw(LOGITS, replace(DEFAULT, logit_bias=LogitBias({5: 10.5, 0: -3})))

    expected = softmax(LOGITS + np.array([-3, 0, 0, 0, 0, 10.5]))
    assert distance(counts, expected) < 0.03


def test_end_tokens_are_banned_for_ever_or_for_a_while() -> None:
    endless = replace(DEFAULT, ignore_eos=True)
    patient = replace(DEFAULT, min_tokens=2, temperature=0)

    assert not {1, 3} & set(draw(LOGITS, endless, 1000))
    sampler, batch_sampler = Sampler(patient), batch_sampler_of(6)
    ends_first = LOGITS[[1, 0, 2, 3, 4, 5]]
    drawn = [batch_sampler.sample(ends_first[None, :].copy(), [sampler])[0] for _ in range(3)]
    assert drawn == [0, 0, 1]


def test_only_the_rows_that_ban_end_tokens_lose_them() -> None:
    rows = np.zeros((2, 6), dtype=np.float32)
    rows[:, 1] = 9

    params = [replace(DEFAULT, temperature=0, ignore_eos=ignore) for ignore in (False, True)]

    assert batch_sampler_of(6).sample(rows, [Sampler(p) for p in params])[0] == 1
    assert rows[1, 1] == -np.inf


def test_random_numbers_depend_on_seed_position_and_choice_alone() -> None:
    def numbers(params: SamplingParams, choice: int = 0) -> list[float]:
        sampler = Sampler(params, choice)
        drawn = []
        for _ in range(5):
            drawn.append(sampler.uniform())
            sampler.accept(0)
        return drawn

    assert numbers(DEFAULT) == numbers(replace(DEFAULT, temperature=0.3, top_k=5))
    assert numbers(DEFAULT) == numbers(replace(DEFAULT, xtc_probability=0.5, mirostat=2))
    assert numbers(DEFAULT) != numbers(DEFAULT, choice=1)
    assert numbers(replace(DEFAULT, seed=-1)) == numbers(replace(DEFAULT, seed=2**64 - 1))
    assert len(set(numbers(DEFAULT))) == 5


def test_mixed_integers_are_uniform() -> None:
    numbers = np.array([mix(i) / 2**64 for i in range(20_000)])

    histogram, _ = np.histogram(numbers, bins=20, range=(0, 1))
    assert abs(histogram / 1000 - 1).max() < 0.12


@pytest.mark.parametrize("n_vocab", [5000, 20_481, 152_064])
def test_logprobs_are_a_log_softmax(n_vocab: int) -> None:
    logits = np.random.default_rng(2).normal(0, 4, n_vocab).astype(np.float32)

    entry = LogprobRow(logits).of(17, 5)

    expected = np.log(softmax(logits))
    assert entry.sampled.logprob == pytest.approx(expected[17], abs=1e-4)
    assert [t.token for t in entry.top] == np.argsort(-expected)[:5].tolist()
    assert [t.logprob for t in entry.top] == pytest.approx(sorted(expected)[:-6:-1], abs=1e-4)


@pytest.mark.parametrize("count", [1, 9, 20])
def test_the_likeliest_tokens_may_be_anywhere(count: int) -> None:
    logits = np.full(20_481, -np.inf, dtype=np.float32)
    places = [20_480, 0, 511, 512, 513, 514, 20_479, 9000, 1]
    logits[places] = range(len(places), 0, -1)

    top = LogprobRow(logits).top(count)

    assert [entry.token for entry in top[: len(places)]] == places[:count]
    assert len(top) == count
