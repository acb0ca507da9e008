"""Sampling: distributions, truncation, penalties, seeds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from shared.engine.logprobs import LogprobRow
from shared.engine.sampling import BatchSampler, Sampler, mix
from shared.engine.types import SamplingParams

DEFAULT = SamplingParams(seed=0)
DRAWS = 4000


END_TOKENS = np.array([1, 3], dtype=np.int32)


def batch_sampler_of(n_vocab: int) -> BatchSampler:
    """For a vocabulary whose tokens 1 and 3 end a generation."""
    return BatchSampler(n_vocab, lambda: END_TOKENS)


def draw(
    logits: npt.NDArray[np.float32], params: SamplingParams, draws: int = DRAWS
) -> Counter[int]:
    """How often each token comes out, each draw with a seed of its own."""
    batch_sampler = batch_sampler_of(len(logits))
    tokens: Counter[int] = Counter()
    for seed in range(draws):
        sampler = Sampler(replace(params, seed=seed))
        tokens.update(batch_sampler.sample(logits[None, :].copy(), [sampler]))
    return tokens


def softmax(logits: npt.NDArray[np.float32], temperature: float = 1) -> npt.NDArray[np.float64]:
    weights = np.exp((logits.astype(np.float64) - logits.max()) / temperature)
    probabilities: npt.NDArray[np.float64] = weights / weights.sum()
    return probabilities


def distance(counts: Counter[int], expected: npt.NDArray[np.float64]) -> float:
    """Total variation distance between observed frequencies and probabilities."""
    total = counts.total()
    observed = np.array([counts[i] / total for i in range(len(expected))])
    return float(np.abs(observed - expected).sum() / 2)


LOGITS = np.array([2.0, 1.5, 1.0, 0.0, -1.0, -8.0], dtype=np.float32)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_tokens_come_with_the_models_probabilities(temperature: float) -> None:
    counts = draw(LOGITS, replace(DEFAULT, temperature=temperature))

    assert distance(counts, softmax(LOGITS, temperature)) < 0.03


@pytest.mark.parametrize("n_vocab", [8192, 8193, 20_000, 152_064])
def test_block_sums_pick_the_token_that_a_full_cumulative_sum_picks(n_vocab: int) -> None:
    logits = np.random.default_rng(3).normal(0, 3, n_vocab).astype(np.float32)
    cumulative = softmax(logits).cumsum()
    batch_sampler = batch_sampler_of(n_vocab)

    for seed in range(50):
        sampler = Sampler(replace(DEFAULT, seed=seed))
        position = sampler.uniform()
        (token,) = batch_sampler.sample(logits[None, :].copy(), [sampler])
        low, high = (cumulative[token - 1] if token else 0), cumulative[token]
        assert low - 1e-4 <= position <= high + 1e-4


def test_rows_are_sampled_as_they_are_alone() -> None:
    rows = np.random.default_rng(1).normal(0, 2, (6, 500)).astype(np.float32)
    params = [
        replace(DEFAULT, seed=1),
        replace(DEFAULT, seed=2, temperature=0),
        replace(DEFAULT, seed=3, temperature=0.3),
        replace(DEFAULT, seed=4, top_k=5),
        replace(DEFAULT, seed=5, logit_bias={7: 100}),
        replace(DEFAULT, seed=6, temperature=0),
    ]
    batch_sampler = batch_sampler_of(500)
    alone = [
        batch_sampler.sample(rows[i : i + 1].copy(), [Sampler(p)])[0] for i, p in enumerate(params)
    ]

    assert batch_sampler.sample(rows.copy(), [Sampler(p) for p in params]) == alone


def test_zero_temperature_is_greedy() -> None:
    assert draw(LOGITS, replace(DEFAULT, temperature=0), 20) == {0: 20}


def test_top_k_keeps_the_likeliest() -> None:
    counts = draw(LOGITS, replace(DEFAULT, top_k=2))

    kept = np.where(np.arange(6) < 2, softmax(LOGITS), 0)
    assert distance(counts, kept / kept.sum()) < 0.03


def test_top_p_keeps_the_smallest_set_that_is_likely_enough() -> None:
    assert softmax(LOGITS)[:2].sum() < 0.75 < softmax(LOGITS)[:3].sum()

    assert set(draw(LOGITS, replace(DEFAULT, top_p=0.75), 1000)) == {0, 1, 2}


def test_min_p_keeps_what_is_likely_beside_the_likeliest() -> None:
    assert set(draw(LOGITS, replace(DEFAULT, min_p=0.5), 1000)) == {0, 1}


def test_a_bias_of_minus_100_bans_and_100_forces() -> None:
    extreme = np.array([300.0, 0.0, -50.0], dtype=np.float32)

    assert 0 not in draw(extreme, replace(DEFAULT, logit_bias={0: -100}), 500)
    assert draw(LOGITS, replace(DEFAULT, logit_bias={5: 100}), 500) == {5: 500}


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


def test_penalties_follow_the_formula_over_sampled_tokens() -> None:
    params = replace(DEFAULT, temperature=0, frequency_penalty=0.5, presence_penalty=0.25)
    sampler = Sampler(params)
    for token in (0, 0, 0, 1):
        sampler.accept(token)

    row = LOGITS.copy()
    sampler.adjust(row)

    expected = LOGITS - np.array([3 * 0.5 + 0.25, 0.5 + 0.25, 0, 0, 0, 0], dtype=np.float32)
    np.testing.assert_allclose(row, expected, rtol=1e-6)


def test_repeat_penalty_shrinks_towards_unlikely_within_its_window() -> None:
    sampler = Sampler(replace(DEFAULT, repeat_penalty=2.0, repeat_last_n=2))
    for token in (0, 1, 4):
        sampler.accept(token)

    row = LOGITS.copy()
    sampler.adjust(row)

    np.testing.assert_allclose(row, [2.0, 0.75, 1.0, 0.0, -2.0, -8.0])


def test_random_numbers_depend_on_seed_position_and_choice_alone() -> None:
    def numbers(params: SamplingParams, choice: int = 0) -> list[float]:
        sampler = Sampler(params, choice)
        drawn = []
        for _ in range(5):
            drawn.append(sampler.uniform())
            sampler.accept(0)
        return drawn

    assert numbers(DEFAULT) == numbers(replace(DEFAULT, temperature=0.3, top_k=5))
    assert numbers(DEFAULT) != numbers(DEFAULT, choice=1)
    assert numbers(replace(DEFAULT, seed=-1)) == numbers(replace(DEFAULT, seed=2**64 - 1))
    assert len(set(numbers(DEFAULT))) == 5


def test_mixed_integers_are_uniform() -> None:
    numbers = np.array([mix(i) / 2**64 for i in range(20_000)])

    histogram, _ = np.histogram(numbers, bins=20, range=(0, 1))
    assert abs(histogram / 1000 - 1).max() < 0.12


def test_logprobs_are_a_log_softmax() -> None:
    logits = np.random.default_rng(2).normal(0, 4, 5000).astype(np.float32)

    entry = LogprobRow(logits).of(17, 5)

    expected = np.log(softmax(logits))
    assert entry.sampled.logprob == pytest.approx(expected[17], abs=1e-4)
    assert [t.token for t in entry.top] == np.argsort(-expected)[:5].tolist()
    assert [t.logprob for t in entry.top] == pytest.approx(sorted(expected)[:-6:-1], abs=1e-4)
