"""Acceptance rates of a draft model's tokens, by how probable the model takes them to be."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from shared.engine.speculation.acceptance import ClassRates

_CONFIDENCES = (0.3, 0.5, 0.7, 0.85, 0.95, 0.99)
"""Probabilities at which the next class of tokens begins."""
_PRIORS = (0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97)
_MEAN_PRIOR = 0.7
_DECAY = 0.95
"""What remains of older observations of a sequence with each new one: about twenty count."""
_SLOW_DECAY = 0.99
"""The same of what is usual, for which a hundred count."""


class ModelRates:
    """Estimates for one sequence, or what is usual for the draft model."""

    __slots__ = ("_by_confidence", "_guesses", "_mean", "_n_sampled", "_usual", "n_observed")

    def __init__(self, usual: ModelRates | None = None) -> None:
        """Those of a sequence begin with what is ``usual``, and add to it."""
        self._usual = usual
        self.n_observed = 0
        self._guesses: list[tuple[int, float]] = []
        self._n_sampled = 0
        if usual is None:
            self._by_confidence = ClassRates(_PRIORS, _SLOW_DECAY)
            self._mean = ClassRates([_MEAN_PRIOR], _SLOW_DECAY)
        else:
            classes, mean = usual._by_confidence.of_all(), usual._mean.of_all()
            self._by_confidence = ClassRates(classes, _DECAY, keeps_priors=False)
            self._mean = ClassRates(mean, _DECAY, keeps_priors=False)

    @property
    def mean(self) -> float:
        """The estimated probability that a token of which nothing is known is accepted."""
        return self._mean.of_class(0)

    def rate(self, probability: float) -> float:
        """The same for a token that the model gives ``probability``."""
        return self._by_confidence.of_class(_class(probability))

    def observe(self, probability: float, *, is_accepted: bool) -> None:
        """Note whether a token was sampled that the model gave ``probability``."""
        self.n_observed += 1
        self._by_confidence.observe_class(_class(probability), is_accepted=is_accepted)
        self._mean.observe_class(0, is_accepted=is_accepted)
        if self._usual is not None:
            self._usual.observe(probability, is_accepted=is_accepted)

    def guess(self, n_sampled: int, token: int, probability: float) -> None:
        """Note what the model takes to come next, behind other guesses if there are some.

        ``n_sampled``: tokens that were sampled before all of these.
        """
        self._n_sampled = n_sampled
        self._guesses.append((token, probability))

    def compare(self, sampled: Sequence[int]) -> None:
        """Observe the guesses, up to the first that was wrong; no more is told by the others."""
        for i, (token, probability) in enumerate(self._guesses, start=self._n_sampled):
            if i >= len(sampled):
                break
            is_accepted = sampled[i] == token
            self.observe(probability, is_accepted=is_accepted)
            if not is_accepted:
                break
        self._guesses.clear()


def _class(probability: float) -> int:
    return bisect_right(_CONFIDENCES, probability)
