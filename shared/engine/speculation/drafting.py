"""Drafting for one sequence in one step: what a draft model has drafted of it so far."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass, field

import numpy as np

from shared.engine.kv_cache.cells import KVEntry
from shared.engine.llama.context import LogitsArray
from shared.engine.sampling.inverse_transform import SMALL_VOCABULARY
from shared.engine.sequence import Sequence
from shared.engine.speculation.draft_rounds import Course
from shared.engine.speculation.model_rates import ModelRates


@dataclass(slots=True)
class Drafting:
    """Tokens drafted behind a sequence's last one.

    - ``entry``: its entry in the target's cache, of whose tokens ``n_lacking`` are not in the draft
      model's.
    - ``n_longest``: tokens that its drafts may have, ``n_most``: that may be drafted now.
    - ``n_repeated``: tokens before those that it lacks, which are evaluated once more.
    - ``chances``: for each token the probability that all up to it are accepted.
    """

    sequence: Sequence
    entry: KVEntry
    rates: ModelRates
    n_longest: int
    n_most: int
    n_lacking: int
    course: Course
    n_repeated: int = 0
    tokens: list[int] = field(default_factory=list)
    chances: list[float] = field(default_factory=list)

    @property
    def n_observable(self) -> int:
        """Of the tokens that it lacks, those before the last that tell of what was sampled."""
        return min(self.n_lacking - 1, len(self.sequence.sampled))

    def observe(self, guesses: Items[int], probabilities: Items[float]) -> None:
        """Compare what the model would have drafted with the tokens sampled last."""
        sampled = self.sequence.sampled
        n_before = len(sampled) - len(guesses)
        for i, (guess, probability) in enumerate(zip(guesses, probabilities, strict=True)):
            self.rates.observe(probability, is_accepted=guess == sampled[n_before + i])

    def take(self, token: int, probability: float, *, is_drafted: bool) -> bool:
        """Note what the model takes to come next; whether to go on behind it.

        Where it is not to be ``is_drafted``, it is only compared with what will be sampled.
        """
        self.rates.guess(len(self.sequence.sampled), token, probability)
        if not is_drafted:
            return False
        self.tokens.append(token)
        self.chances.append(self.course.add(self.rates.rate(probability)))
        return len(self.tokens) < self.n_most


def likeliest(logits: LogitsArray) -> tuple[list[int], list[float]]:
    """The likeliest token of each row, and its probability."""
    tokens = logits.argmax(axis=1)
    peaks = np.take_along_axis(logits, tokens[:, None], axis=1)
    if logits.shape[1] <= SMALL_VOCABULARY:
        return tokens.tolist(), (1 / np.exp(logits - peaks).sum(axis=1)).tolist()
    weights = np.empty(logits.shape[1], dtype=np.float32)  # a row stays in the processor's cache
    probabilities: list[float] = []
    for row, peak in zip(logits, peaks, strict=True):
        np.subtract(row, peak, out=weights)
        np.exp(weights, out=weights)
        probabilities.append(1 / float(weights.sum()))
    return tokens.tolist(), probabilities
