"""Which tokens top-k, typical, top-p, min-p and XTC leave to choose from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from shared.engine.llama.context import LogitsArray
from shared.engine.sampling.logit_bias import LogitBias
from shared.engine.sampling.sampler import Sampler
from shared.engine.sampling.truncation import Candidates, Truncation
from tests.engine.sampling.distributions import (
    DEFAULT,
    LOGITS,
    Probabilities,
    distance,
    draw,
    generate,
    only,
    random_logits,
    softmax,
)

SIZES = [50, 2000, 20_000]

Rule = Callable[[Probabilities], set[int]]


def kept(logits: LogitsArray, **fields: float) -> set[int]:
    """The tokens that truncation leaves, in the order of likelihood or not."""
    truncation = Truncation.of(replace(DEFAULT, **fields))  # type: ignore[arg-type]
    ids, left = Candidates(len(logits)).of(logits, truncation)
    np.testing.assert_array_equal(left, logits[ids])
    return set(ids.tolist())


def by_likelihood(probabilities: Probabilities) -> list[int]:
    """Tokens, the likeliest first."""
    order: list[int] = np.argsort(-probabilities).tolist()
    return order


def top_k(probabilities: Probabilities, k: int) -> set[int]:
    return set(by_likelihood(probabilities)[:k])


def top_p(probabilities: Probabilities, p: float) -> set[int]:
    """The smallest set of likeliest tokens with a probability of at least ``p`` together."""
    order = by_likelihood(probabilities)
    return set(order[: int((probabilities[order].cumsum() < p).sum()) + 1])


def min_p(probabilities: Probabilities, p: float) -> set[int]:
    """All tokens at least ``p`` times as likely as the likeliest."""
    return set(np.flatnonzero(probabilities >= p * probabilities.max()).tolist())


def typical_p(probabilities: Probabilities, p: float) -> set[int]:
    """The tokens whose surprise is nearest the entropy, up to more than ``p`` together."""
    possible = np.flatnonzero(probabilities)
    surprise = -np.log(probabilities[possible])
    entropy = (probabilities[possible] * surprise).sum()
    order = possible[np.argsort(np.abs(surprise - entropy))]
    return set(order[: int((probabilities[order].cumsum() <= p).sum()) + 1].tolist())


@pytest.mark.parametrize("n_vocab", SIZES)
@pytest.mark.parametrize("k", [1, 2, 40, 10**6])
def test_top_k_keeps_the_likeliest(n_vocab: int, k: int) -> None:
    logits = random_logits(n_vocab)

    assert kept(logits, top_k=k) == top_k(softmax(logits), k)


@pytest.mark.parametrize("k", [0, -1])
def test_top_k_of_nothing_keeps_all(k: int) -> None:
    assert kept(LOGITS, top_k=k) == set(range(6))


@pytest.mark.parametrize("n_vocab", SIZES)
@pytest.mark.parametrize("p", [0, 0.1, 0.5, 0.9])
def test_top_p_keeps_the_smallest_set_that_is_likely_enough(n_vocab: int, p: float) -> None:
    logits = random_logits(n_vocab)

    assert kept(logits, top_p=p) == top_p(softmax(logits), p)


@pytest.mark.parametrize("n_vocab", SIZES)
@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 1])
def test_min_p_keeps_what_is_likely_beside_the_likeliest(n_vocab: int, p: float) -> None:
    logits = random_logits(n_vocab)

    assert kept(logits, min_p=p) == min_p(softmax(logits), p)


@pytest.mark.parametrize("n_vocab", SIZES)
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_typical_p_keeps_what_is_as_surprising_as_the_average(n_vocab: int, p: float) -> None:
    logits = random_logits(n_vocab)

    assert kept(logits, typical_p=p) == typical_p(softmax(logits), p)


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"top_k": 40}, lambda p: top_k(p, 40)),
        ({"top_p": 0.7}, lambda p: top_p(p, 0.7)),
        ({"min_p": 0.2}, lambda p: min_p(p, 0.2)),
        ({"typical_p": 0.6}, lambda p: typical_p(p, 0.6)),
    ],
)
def test_banned_tokens_and_hopeless_ones_change_nothing(
    fields: dict[str, float], rule: Rule
) -> None:
    logits = random_logits(500)
    logits[::2] = -np.inf
    logits[1::50] -= 300

    assert kept(logits, **fields) == rule(softmax(logits))


def test_truncations_follow_one_another_in_llama_cpps_order() -> None:
    logits = random_logits(500)
    probabilities = softmax(logits)

    first = top_k(probabilities, 40)
    second = typical_p(only(probabilities, [*first]), 0.95)
    third = top_p(only(probabilities, [*second]), 0.8)
    fourth = min_p(only(probabilities, [*third]), 0.1)

    assert kept(logits, top_k=40, typical_p=0.95, top_p=0.8, min_p=0.1) == fourth
    assert first > second > third > fourth


@pytest.mark.slow
@pytest.mark.sweep(3)
@pytest.mark.parametrize("temperature", [0.5, 1, 2])
@pytest.mark.parametrize(
    ("fields", "tokens"),
    [({"top_k": 2}, [0, 1]), ({"top_p": 0.75}, [0, 1, 2]), ({"min_p": 0.1}, [0, 1, 2, 3])],
)
def test_what_is_kept_comes_with_its_probabilities_at_the_temperature(
    fields: dict[str, float], tokens: list[int], temperature: float
) -> None:
    counts = draw(LOGITS, replace(DEFAULT, temperature=temperature, **fields))  # type: ignore[arg-type]

    assert distance(counts, only(softmax(LOGITS, temperature), tokens)) < 0.03


class TestXTC:
    """XTC excludes the top choices: with a chance, all likely tokens but the least likely."""

    ALWAYS = replace(DEFAULT, xtc_probability=1, xtc_threshold=0.15)
    LEFT = (2, 3, 4, 5)
    """Of tokens 0, 1 and 2, which are more likely than the threshold, 2 is the least likely."""

    @pytest.mark.slow
    def test_the_top_choices_are_removed(self) -> None:
        assert (softmax(LOGITS) > 0.15).tolist() == [True] * 3 + [False] * 3

        counts = draw(LOGITS, self.ALWAYS)

        assert distance(counts, only(softmax(LOGITS), [*self.LEFT])) < 0.03

    @pytest.mark.slow
    @pytest.mark.parametrize("chance", [0.2, 0.7])
    def test_they_are_removed_as_often_as_asked_for(self, chance: float) -> None:
        counts = draw(LOGITS, replace(self.ALWAYS, xtc_probability=chance))

        removed = only(softmax(LOGITS), [*self.LEFT])
        assert distance(counts, chance * removed + (1 - chance) * softmax(LOGITS)) < 0.03

    def test_the_chance_is_drawn_anew_for_each_token(self) -> None:
        params = replace(DEFAULT, xtc_probability=0.3, xtc_threshold=0.15, temperature=0)

        tokens = generate(LOGITS, Sampler(params), 2000)

        assert set(tokens) == {0, 2}
        assert tokens.count(2) / 2000 == pytest.approx(0.3, abs=0.04)
        assert tokens == generate(LOGITS, Sampler(params), 2000)
        assert tokens != generate(LOGITS, Sampler(params, choice=1), 2000)

    @pytest.mark.parametrize("threshold", [0.3, 0.51, 1])
    def test_a_single_likely_token_stays(self, threshold: float) -> None:
        params = replace(self.ALWAYS, xtc_threshold=threshold)

        assert draw(LOGITS, params, 500) == draw(LOGITS, DEFAULT, 500)

    def test_truncation_comes_first(self) -> None:
        assert set(draw(LOGITS, replace(self.ALWAYS, top_k=2), 200)) == {1}

    @pytest.mark.slow
    def test_temperature_comes_later(self) -> None:
        counts = draw(LOGITS, replace(self.ALWAYS, temperature=2))

        assert distance(counts, only(softmax(LOGITS, 2), [*self.LEFT])) < 0.03

    def test_zero_temperature_takes_the_likeliest_that_is_left(self) -> None:
        assert set(draw(LOGITS, replace(self.ALWAYS, temperature=0), 20)) == {2}

    def test_a_threshold_of_zero_leaves_the_least_likely_possible_token(self) -> None:
        banning = replace(self.ALWAYS, xtc_threshold=0, logit_bias=LogitBias({5: -100}))

        assert set(draw(LOGITS, banning, 20)) == {4}
        assert set(draw(LOGITS, replace(banning, top_k=6), 20)) == {4}


@pytest.mark.parametrize("n_vocab", [7, 5000])
@pytest.mark.parametrize(
    ("fields", "n_kept"), [({"top_k": 3}, 3), ({"top_p": 0.5}, None), ({"top_p": 0.0}, 1)]
)
def test_of_equally_likely_tokens_the_first_are_kept(
    n_vocab: int, fields: dict[str, float], n_kept: int | None
) -> None:
    logits = np.full(n_vocab, 2.5, dtype=np.float32)

    assert kept(logits, **fields) == set(range(n_kept or (n_vocab + 1) // 2))


@pytest.mark.parametrize("p", [0.5, 0.999, 0.9999999])
@pytest.mark.parametrize("peak", [0, 12, 40])
def test_a_few_likely_tokens_among_many_are_found(p: float, peak: float) -> None:
    logits = random_logits(20_000)
    logits[[7, 300, 19_000]] += peak

    left = kept(logits, top_p=p)

    probabilities = softmax(logits)
    assert left <= top_p(probabilities, p + 1e-6)
    assert left >= top_p(probabilities, p - 1e-6)
