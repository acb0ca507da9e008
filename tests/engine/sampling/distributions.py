"""Hand-made logits, and how often each token comes out of them."""

from __future__ import annotations

import ctypes
from collections import Counter
from dataclasses import replace
from typing import Any

import llama_cpp.llama_cpp as lib
import numpy as np
import numpy.typing as npt

from shared.engine.llama.context import LogitsArray
from shared.engine.sampling.sampler import BatchSampler, Sampler
from shared.engine.types import SamplingParams

Probabilities = npt.NDArray[np.float64]

DEFAULT = SamplingParams(seed=0)
DRAWS = 4000
END_TOKENS = np.array([1, 3], dtype=np.int32)
LOGITS = np.array([2.0, 1.5, 1.0, 0.0, -1.0, -8.0], dtype=np.float32)


def batch_sampler_of(n_vocab: int) -> BatchSampler:
    """For a vocabulary whose tokens 1 and 3 end a generation."""
    return BatchSampler(n_vocab, lambda: END_TOKENS)


def draw(logits: LogitsArray, params: SamplingParams, draws: int = DRAWS) -> Counter[int]:
    """How often each token comes out, each draw with a seed of its own."""
    batch_sampler = batch_sampler_of(len(logits))
    tokens: Counter[int] = Counter()
    for seed in range(draws):
        sampler = Sampler(replace(params, seed=seed))
        tokens.update(batch_sampler.sample(logits[None, :].copy(), [sampler]))
    return tokens


def generate(logits: LogitsArray, sampler: Sampler, n_tokens: int) -> list[int]:
    """The tokens of one sequence whose every distribution is the same."""
    batch_sampler = batch_sampler_of(len(logits))
    return [batch_sampler.sample(logits[None, :].copy(), [sampler])[0] for _ in range(n_tokens)]


def random_logits(n_vocab: int, seed: int = 0, scale: float = 3) -> LogitsArray:
    """Normally distributed logits, no two equal."""
    logits = np.random.default_rng(seed).normal(0, scale, n_vocab).astype(np.float32)
    assert len(np.unique(logits)) > 0.99 * n_vocab
    return logits


def softmax(logits: npt.NDArray[np.floating], temperature: float = 1) -> Probabilities:
    """The probabilities of tokens at a temperature."""
    weights = np.exp((logits.astype(np.float64) - logits.max()) / temperature)
    probabilities: Probabilities = weights / weights.sum()
    return probabilities


def only(probabilities: Probabilities, kept: list[int]) -> Probabilities:
    """The probabilities when nothing but ``kept`` is possible."""
    left = np.zeros_like(probabilities)
    left[kept] = probabilities[kept]
    scaled: Probabilities = left / left.sum()
    return scaled


def distance(counts: Counter[int], expected: Probabilities) -> float:
    """Total variation distance between observed frequencies and probabilities."""
    total = counts.total()
    observed = np.array([counts[i] / total for i in range(len(expected))])
    return float(np.abs(observed - expected).sum() / 2)


def applied(sampler: Any, logits: LogitsArray) -> tuple[npt.NDArray[np.int32], LogitsArray, int]:
    """What a ``llama_sampler`` leaves of ``logits``: ids, their logits, what it selected or -1."""
    layout = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
    data = np.zeros(len(logits), dtype=layout)
    data["id"] = np.arange(len(logits))
    data["logit"] = logits
    pointer: Any = data.ctypes.data_as(lib.llama_token_data_p)
    array: Any = lib.llama_token_data_array(pointer, len(logits), -1, False)
    lib.llama_sampler_apply(sampler, ctypes.byref(array))
    left = data[: array.size]
    return left["id"], left["logit"], array.selected
