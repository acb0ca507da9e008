"""Mirostat: sampling that keeps a text's surprise at a target (Basu et al. 2020, versions 1, 2)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from shared.engine.sampling.inverse_transform import draw_index

_N_ESTIMATE = 100
"""How many of the likeliest tokens version 1 estimates the distribution's slope from."""


class Mirostat:
    """The feedback loop of one sequence; parameters, start and formulas are llama.cpp's.

    Surprise is ``-log2(p)``, in bits. The cut-off ``mu`` starts at twice the target ``tau``; after
    each token it moves against the error by the learning rate ``eta``.
    """

    __slots__ = ("_eta", "_mu", "_tau", "_version")

    def __init__(self, version: Literal[1, 2], tau: float, eta: float) -> None:
        self._version = version
        self._tau = tau
        self._eta = eta
        self._mu = 2 * tau

    def keep(
        self, weights: npt.NDArray[np.float32], ids: npt.NDArray[np.int32], n_vocab: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        """Probabilities and ids of the tokens to draw from; ``weights`` have any order and sum."""
        probabilities = weights / weights.sum()
        if self._version == 1:
            kept = _top(probabilities, self._n_kept(probabilities, n_vocab))
        else:
            kept = (probabilities >= 2.0 ** min(-self._mu, 0)).nonzero()[0]
            if not len(kept):
                kept = _top(probabilities, 1)
        return probabilities[kept], ids[kept]

    def draw(self, left: npt.NDArray[np.float32], uniform: float) -> int:
        """Draw an index of what is left, with a random number in [0, 1), and learn from it."""
        drawn = draw_index(left, uniform)
        surprise = float(-np.log2(left[drawn] / left.sum()))
        self._mu -= self._eta * (surprise - self._tau)
        return drawn

    def _n_kept(self, probabilities: npt.NDArray[np.float32], n_vocab: int) -> int:
        """Version 1's k, for a Zipf distribution with the slope of the likeliest tokens."""
        likeliest = probabilities[_top(probabilities, _N_ESTIMATE)].astype(np.float64)
        likeliest = np.sort(likeliest[likeliest > 0])[::-1]
        ranks = np.arange(1, len(likeliest) + 1)
        distances = np.log(ranks[1:] / ranks[:-1])
        falls = np.log(likeliest[:-1] / likeliest[1:])
        with np.errstate(all="ignore"):  # a flat or single distribution has no such exponent
            exponent = (distances @ falls) / (distances @ distances)
            epsilon = exponent - 1
            base = epsilon * np.exp2(self._mu) / (1 - np.power(float(n_vocab), -epsilon))
            k = np.power(base, 1 / exponent)
        return int(np.clip(np.nan_to_num(k, nan=1), 1, len(probabilities)))


def _top(probabilities: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.intp]:
    """The indices of the ``k`` largest, in no certain order."""
    if k >= len(probabilities):
        return np.arange(len(probabilities))
    return np.argpartition(probabilities, -k)[-k:]
