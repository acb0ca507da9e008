"""Log probabilities: of the model's own distribution, and of the one that a token is drawn from."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from shared.engine.llama.context import LogitsArray
from shared.engine.types import Logprob, TokenLogprobs


class LogprobRow:
    """One row of logits, kept as log probabilities while the row itself goes to the sampler.

    A log-softmax of the raw logits.
    """

    def __init__(self, row: LogitsArray) -> None:
        """Copies ``row``, shape ``(n_vocab,)``."""
        shifted = row - row.max()
        # Single precision is exact enough for each term, not for the sum of 152,000 of them.
        shifted -= np.float32(np.log(np.exp(shifted).sum(dtype=np.float64)))
        self._logprobs = shifted

    def top(self, count: int) -> tuple[Logprob, ...]:
        """The ``count`` likeliest tokens, in descending order."""
        if count <= 0:
            return ()
        count = min(count, len(self._logprobs))
        likeliest = np.argpartition(self._logprobs, -count)[-count:]
        ordered = likeliest[np.argsort(-self._logprobs[likeliest], kind="stable")]
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
