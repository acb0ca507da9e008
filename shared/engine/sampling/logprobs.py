"""Log probabilities of the model's own distribution: a log-softmax of the raw logits."""

from __future__ import annotations

import numpy as np

from shared.engine.llama.context import LogitsArray
from shared.engine.types import Logprob, TokenLogprobs


class LogprobRow:
    """One row of logits, kept as log probabilities while the row itself goes to the sampler."""

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
