"""Log probabilities: of the model's own distribution, and of the one that a token is drawn from."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from shared.engine.llama.context import LogitsArray
from shared.engine.types import Logprob, TokenLogprobs

_BLOCK = 512


class LogprobRow:
    """One row of logits, kept as log probabilities while the row itself goes to the sampler.

    A log-softmax of the raw logits.
    """

    def __init__(self, row: LogitsArray) -> None:
        """Copies ``row``, shape ``(n_vocab,)``."""
        shifted = row - row.max()
        # Single precision is exact enough for each term, not for the sum of 152,000 of them.
        sums = np.add.reduceat(np.exp(shifted), np.arange(0, len(row), _BLOCK))
        shifted -= np.float32(np.log(sums.sum(dtype=np.float64)))
        self._logprobs = shifted

    def top(self, count: int) -> tuple[Logprob, ...]:
        """The ``count`` likeliest tokens, in descending order."""
        if count <= 0:
            return ()
        ordered = _likeliest(self._logprobs, min(count, len(self._logprobs)))
        return tuple(Logprob(int(t), float(self._logprobs[t])) for t in ordered)

    def of(self, token: int, top_logprobs: int) -> TokenLogprobs:
        """The log probability of ``token`` beside the ``top_logprobs`` likeliest."""
        sampled = Logprob(token, float(self._logprobs[token]))
        return TokenLogprobs(sampled, self.top(top_logprobs))


class DrawnFrom:
    """The distribution that a sequence's last token was drawn from, after all samplers.

    Tokens that these have removed have no probability, and are not named.
    """

    def __init__(self) -> None:
        self._ids: npt.NDArray[np.int32] | None = None
        self._weights: npt.NDArray[np.float32] = np.ones(1, np.float32)

    def set(self, ids: npt.NDArray[np.int32] | None, weights: npt.NDArray[np.float32]) -> None:
        """Copies ``weights``, of any sum, of the tokens ``ids``; None for all, in their order."""
        self._ids = None if ids is None else ids.copy()
        self._weights = weights.copy()

    def set_certain(self, token: int) -> None:
        """There was no other."""
        self.set(np.array([token], np.int32), np.ones(1, np.float32))

    def of(self, token: int, top_logprobs: int) -> TokenLogprobs:
        """The log probability of ``token`` beside the ``top_logprobs`` likeliest."""
        weights, ids = self._weights, self._ids
        total = float(weights.sum(dtype=np.float64))
        at = token if ids is None else int((ids == token).argmax())
        count = min(top_logprobs, len(weights))
        likeliest = np.argpartition(weights, -count)[-count:] if count else np.empty(0, np.intp)
        ordered = likeliest[np.argsort(-weights[likeliest], kind="stable")]
        top = (
            Logprob(int(i if ids is None else ids[i]), math.log(float(weights[i]) / total))
            for i in ordered
            if weights[i] > 0
        )
        return TokenLogprobs(Logprob(token, math.log(float(weights[at]) / total)), tuple(top))


def _likeliest(values: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.intp]:
    """Where the ``count`` largest are, in descending order.

    They lie in as many blocks, those with the largest maxima: to look for them there takes a tenth
    of the time, where there are 152,000.
    """
    starts = np.arange(0, len(values), _BLOCK)
    if count < len(starts) // 4:
        maxima = np.maximum.reduceat(values, starts)
        blocks = starts[np.argpartition(maxima, -count)[-count:]]
        near = (blocks[:, None] + np.arange(_BLOCK)).ravel()
        near = near[near < len(values)]
    else:
        near = np.arange(len(values))
    found = near[np.argpartition(values[near], -count)[-count:]]
    return found[np.argsort(-values[found], kind="stable")]
