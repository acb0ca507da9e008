"""Mirostat, beside llama.cpp's own samplers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import llama_cpp.llama_cpp as lib
import numpy as np
import pytest

from shared.engine.llama.context import LogitsArray
from shared.engine.sampling.sampler import Sampler
from tests.engine.sampling.distributions import (
    DEFAULT,
    applied,
    distance,
    draw,
    generate,
    only,
    random_logits,
    softmax,
)

ZIPF = (-1.1 * np.log(np.arange(1, 2001))).astype(np.float32)
"""A distribution as natural language has it, of 7.6 bits on average."""


class Reference:
    """llama.cpp's mirostat over one distribution."""

    def __init__(self, version: int, tau: float, eta: float, n_vocab: int, seed: int = 1) -> None:
        self._sampler: Any = (
            lib.llama_sampler_init_mirostat(n_vocab, seed, tau, eta, 100)
            if version == 1
            else lib.llama_sampler_init_mirostat_v2(seed, tau, eta)
        )

    def sample(self, logits: LogitsArray) -> tuple[int, set[int]]:
        """A token, and those that it was chosen from."""
        ids, _, selected = applied(self._sampler, logits)
        return int(ids[selected]), set(ids.tolist())

    def __del__(self) -> None:
        lib.llama_sampler_free(self._sampler)


def mean_surprise(tokens: list[int], logits: LogitsArray) -> float:
    """In bits for each token."""
    return float(-np.log2(softmax(logits)[tokens]).mean())


@pytest.mark.slow
@pytest.mark.sweep(4)
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("tau", [0.5, 2, 3])
@pytest.mark.parametrize("temperature", [1, 1.5])
def test_the_first_token_is_chosen_from_those_that_llama_cpp_keeps(
    version: Any, tau: float, temperature: float
) -> None:
    logits = random_logits(60, scale=2)
    params = replace(DEFAULT, mirostat=version, mirostat_tau=tau, temperature=temperature)

    tokens = draw(logits, params, 3000)

    _, kept = Reference(version, tau, 0.1, 60).sample(logits / np.float32(temperature))
    assert set(tokens) <= kept
    assert sum(softmax(logits, temperature)[list(kept - set(tokens))]) < 0.005


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("tau", [1.0, 3.0, 5.0])
def test_surprise_is_driven_to_where_llama_cpp_drives_it(version: Any, tau: float) -> None:
    params = replace(DEFAULT, mirostat=version, mirostat_tau=tau)
    reference = Reference(version, tau, 0.1, len(ZIPF))

    ours = generate(ZIPF, Sampler(params), 500)
    theirs = [reference.sample(ZIPF)[0] for _ in range(500)]

    assert mean_surprise(ours, ZIPF) == pytest.approx(mean_surprise(theirs, ZIPF), abs=0.3)


@pytest.mark.sweep(1)
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("tau", [5, 6, 7])
def test_surprise_is_driven_towards_the_target(version: Any, tau: float) -> None:
    params = replace(DEFAULT, mirostat=version, mirostat_tau=tau)

    surprise = mean_surprise(generate(ZIPF, Sampler(params), 1000), ZIPF)

    # The rest is what truncation takes away: the model itself would be surprised more.
    assert tau - 0.2 < surprise < tau + 0.6


def test_without_learning_the_cut_off_stays_at_twice_the_target() -> None:
    params = replace(DEFAULT, mirostat=2, mirostat_tau=2, mirostat_eta=0)
    probabilities = softmax(ZIPF)

    tokens = Counter(generate(ZIPF, Sampler(params), 3000))

    kept = np.flatnonzero(-np.log2(probabilities) <= 4).tolist()
    assert distance(tokens, only(probabilities, kept)) < 0.03


@pytest.mark.parametrize("version", [1, 2])
def test_the_learning_rate_matters_from_the_second_token_on(version: Any) -> None:
    params = replace(DEFAULT, mirostat=version, mirostat_tau=2)
    slow = replace(params, mirostat_eta=0)
    fast = replace(params, mirostat_eta=2)

    assert draw(ZIPF, slow, 100) == draw(ZIPF, fast, 100)
    assert generate(ZIPF, Sampler(slow), 50) != generate(ZIPF, Sampler(fast), 50)


@pytest.mark.parametrize("version", [1, 2])
def test_other_truncations_are_not_applied(version: Any) -> None:
    params = replace(DEFAULT, mirostat=version)
    truncated = replace(params, top_k=1, top_p=0.1, min_p=0.9, xtc_probability=1)

    assert draw(ZIPF, truncated, 100) == draw(ZIPF, params, 100)


@pytest.mark.parametrize("version", [1, 2])
def test_zero_temperature_stays_greedy(version: Any) -> None:
    assert set(draw(ZIPF, replace(DEFAULT, mirostat=version, temperature=0), 20)) == {0}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("tau", [0, 1e-9, 1000])
@pytest.mark.parametrize("eta", [0, 1000])
@pytest.mark.parametrize("logits", [[0.0], [0.0] * 300, [0.0, 100, 100], [0, -np.inf, 1]])
def test_extreme_parameters_and_distributions_give_tokens(
    version: Any, tau: float, eta: float, logits: list[float]
) -> None:
    params = replace(DEFAULT, mirostat=version, mirostat_tau=tau, mirostat_eta=eta)
    row = np.array(logits, dtype=np.float32)

    with np.errstate(all="raise", under="ignore"):
        tokens = generate(row, Sampler(params), 30)

    assert all(row[token] > -np.inf for token in tokens)


@pytest.mark.parametrize("version", [1, 2])
def test_each_sequence_has_a_loop_of_its_own(version: Any) -> None:
    params = replace(DEFAULT, mirostat=version, mirostat_tau=2, mirostat_eta=1)
    alone = generate(ZIPF, Sampler(params), 50)

    generate(ZIPF, Sampler(replace(params, seed=1)), 50)

    assert generate(ZIPF, Sampler(params), 50) == alone
