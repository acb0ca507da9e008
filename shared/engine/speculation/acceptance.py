"""Acceptance rates of drafted tokens, by how long the match is that they follow.

They are observed on all tokens, drafted or not: whoever follows a text knows what it foretold. So
nothing has to be drafted to find out whether drafts would be accepted.
"""

from __future__ import annotations

_CLASSES = [0, 1, 2, 3, 3, *[4] * 4, *[5] * 8]
"""The class of each length of a match; longer ones are in the last."""
_PRIORS = (0.25, 0.3, 0.4, 0.45, 0.6, 0.8, 0.9)
_WEIGHT = 3.0
"""Observations that a prior stands for."""
_DECAY = 0.9
"""What remains of older observations with each new one: about ten of them count."""


class AcceptanceRates:
    """Estimates for one sequence and one text that it follows."""

    __slots__ = ("_accepted", "_observed")

    def __init__(self) -> None:
        self._accepted = [_WEIGHT * prior for prior in _PRIORS]
        self._observed = [_WEIGHT] * len(_PRIORS)

    def observe(self, n_matched: int, *, is_accepted: bool) -> None:
        """Note whether what followed a match of ``n_matched`` tokens was sampled."""
        i = _class(n_matched)
        prior = (1 - _DECAY) * _WEIGHT
        self._accepted[i] = _DECAY * self._accepted[i] + prior * _PRIORS[i] + is_accepted
        self._observed[i] = _DECAY * self._observed[i] + prior + 1

    def rate(self, n_matched: int) -> float:
        """The estimated probability that what follows such a match is sampled."""
        i = _class(n_matched)
        return self._accepted[i] / self._observed[i]

    def chances(self, n_matched: int, n_tokens: int) -> list[float]:
        """For each of the next ``n_tokens`` tokens the probability that all up to it are."""
        chances: list[float] = []
        chance = 1.0
        for n in range(n_matched, n_matched + n_tokens):
            chance *= self.rate(n)
            chances.append(chance)
        return chances


def _class(n_matched: int) -> int:
    return _CLASSES[n_matched] if n_matched < len(_CLASSES) else len(_PRIORS) - 1
