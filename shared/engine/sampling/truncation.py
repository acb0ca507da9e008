"""Truncation of distributions: top-k, typical, top-p, min-p, and XTC."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.engine.llama.context import LogitsArray
from shared.engine.llama.tokenizer import TokenArray
from shared.engine.types import SamplingParams

Indices = npt.NDArray[np.intp]

_NEGLIGIBLE = 70
"""Tokens whose logit is this far below the best are not candidates for typical sampling.

There is the logarithm of every probability in it: where one is 0, as those of banned tokens are, it
would be no number. At temperature 2 these have less than e^-35."""
_FEW = 4096
"""Tokens up to which to sort all is quicker than to look for those that are enough."""
_NEAR = (1e-3, 1e-6)
"""Weights beside the likeliest's from which on tokens mostly are enough, and next to always."""
_WIDTHS = (1.0, 4.0)
"""The same of distances from the entropy."""


@dataclass(frozen=True, slots=True)
class Truncation:
    """Parameters of llama.cpp's truncating samplers, as in `SamplingParams`."""

    top_k: int
    typical_p: float
    top_p: float
    min_p: float

    @classmethod
    def of(cls, params: SamplingParams) -> Truncation | None:
        """Those in ``params``; None when all are off."""
        if params.top_k > 0 or params.typical_p < 1 or params.top_p < 1 or params.min_p > 0:
            return cls(params.top_k, params.typical_p, params.top_p, params.min_p)
        return None


class Candidates:
    """What truncation leaves of rows of logits; owns the scratch memory for it.

    So an object belongs to one thread. llama.cpp's samplers leave the same, but copy a vocabulary
    of 152,000 into structures and sort these: 10 ms for a top-p of 0.95 that leaves thousands of
    tokens, 1.8 ms for one that leaves ten, where this takes 1.7 and 0.4.
    """

    def __init__(self, n_vocab: int) -> None:
        self._ids = np.arange(n_vocab, dtype=np.int32)
        self._scratch = np.empty(n_vocab, dtype=np.float32)

    def of(self, row: LogitsArray, truncation: Truncation | None) -> tuple[TokenArray, LogitsArray]:
        """The ids and logits that ``truncation`` leaves of ``row``, ids ascending.

        Some may be of minus infinity, but not all.
        """
        ids, logits = self._ids, row
        if truncation is None:
            return ids, logits
        if 0 < truncation.top_k < len(logits):
            kept = _largest(logits, truncation.top_k)
            ids, logits = ids[kept], logits[kept]
        if truncation.typical_p < 1:
            kept = _typical(logits, truncation.typical_p)
            ids, logits = ids[kept], logits[kept]
        if truncation.top_p < 1:
            kept = self._nucleus(logits, truncation.top_p)
            ids, logits = ids[kept], logits[kept]
        if truncation.min_p > 0:
            least = logits.max() + np.float32(math.log(truncation.min_p))
            kept = (logits >= least).nonzero()[0]
            ids, logits = ids[kept], logits[kept]
        return ids, logits

    def _nucleus(self, logits: LogitsArray, p: float) -> Indices:
        """Top-p: the fewest tokens that have a probability of ``p`` together."""
        weights = np.subtract(logits, logits.max(), out=self._scratch[: len(logits)])
        np.exp(weights, out=weights)
        needed = p * float(weights.sum(dtype=np.float64))
        for least in _NEAR if len(logits) > _FEW else ():
            near = (weights >= least).nonzero()[0]
            heavy = weights[near]
            if heavy.sum(dtype=np.float64) >= needed:
                kept: Indices = near[_heaviest(heavy, needed)]
                return kept
        return _heaviest(weights, needed)


def _heaviest(weights: LogitsArray, needed: float) -> Indices:
    """Where the fewest are that have a weight of ``needed`` together."""
    descending = np.sort(weights)[::-1]
    n_short = int(descending.cumsum(dtype=np.float64).searchsorted(needed))
    n_kept = min(n_short + 1, len(weights))  # rounding may leave all together short of it
    return _from(weights, descending[n_kept - 1], n_kept)


def _largest(values: LogitsArray, count: int) -> Indices:
    """Where the ``count`` largest are: top-k."""
    return _from(values, np.partition(values, -count)[-count], count)


def _from(values: LogitsArray, least: np.float32, count: int) -> Indices:
    """Where the ``count`` largest are, the smallest of which is ``least``; of equals the first."""
    kept: Indices = (values >= least).nonzero()[0]
    if len(kept) > count:
        equals = (values[kept] == least).nonzero()[0]
        kept = np.delete(kept, equals[count - len(kept) :])
    return kept


def _typical(logits: LogitsArray, p: float) -> Indices:
    """Where those are whose surprise is nearest to the entropy, with more than ``p`` together.

    Locally typical sampling (Meister, Pimentel, Wiher, Cotterell 2022).
    """
    shifted = logits - logits.max()
    possible: Indices = (shifted > -_NEGLIGIBLE).nonzero()[0]
    shifted = shifted[possible]
    weights = np.exp(shifted)
    total = float(weights.sum(dtype=np.float64))
    entropy = math.log(total) - float(weights @ shifted) / total
    distances = np.abs((math.log(total) - entropy) - shifted)
    needed = p * total
    near = possible
    for width in _WIDTHS if len(possible) > _FEW else ():
        close = (distances <= width).nonzero()[0]
        if weights[close].sum(dtype=np.float64) > needed:
            near, weights, distances = possible[close], weights[close], distances[close]
            break
    order = distances.argsort()
    n_kept = int(weights[order].cumsum(dtype=np.float64).searchsorted(needed, side="right")) + 1
    kept: Indices = near[np.sort(order[:n_kept])]
    return kept


def top_choices(logits: LogitsArray, threshold: float) -> npt.NDArray[np.intp]:
    """The positions that XTC removes: all tokens of at least ``threshold`` but the least likely.

    So a likely token is always left, and above a threshold of 0.5 none can be removed. (p-e-w 2024,
    "exclude top choices"; llama.cpp's rule.) Probabilities are those among ``logits``.
    """
    weights = np.exp(logits - logits.max())
    least = max(threshold * weights.sum(), np.finfo(np.float32).tiny)
    above = (weights >= least).nonzero()[0]
    return np.delete(above, weights[above].argmin()) if len(above) else above
