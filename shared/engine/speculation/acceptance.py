"""Acceptance rates of drafted tokens, by what was known of them beforehand.

They are observed on all tokens that were foretold, evaluated as drafts or not: whoever follows a
text knows what came. So nothing has to be drafted to find out whether drafts would be accepted.
"""

from __future__ import annotations

from collections.abc import Sequence

_WEIGHT = 3.0
"""Observations that a prior stands for."""
_DECAY = 0.9
"""What remains of older observations with each new one: about ten of them count."""


class ClassRates:
    """Estimated probabilities that a token is accepted, for each class of tokens."""

    __slots__ = ("_accepted", "_decay", "_kept", "_observed", "_priors")

    def __init__(
        self,
        priors: Sequence[float],
        decay: float = _DECAY,
        *,
        weight: float = _WEIGHT,
        keeps_priors: bool = True,
    ) -> None:
        """``priors``: the estimates at first, which count as ``weight`` observations.

        ``keeps_priors``: whether these always count a little, or fade like what was observed.
        """
        self._priors = priors
        self._decay = decay
        self._kept = (1 - decay) * weight if keeps_priors else 0.0
        self._accepted = [weight * prior for prior in priors]
        self._observed = [weight] * len(priors)

    def observe_class(self, i: int, *, is_accepted: bool) -> None:
        """Note whether a token of class ``i`` was sampled."""
        decay, kept = self._decay, self._kept
        self._accepted[i] = decay * self._accepted[i] + kept * self._priors[i] + is_accepted
        self._observed[i] = decay * self._observed[i] + kept + 1

    def of_class(self, i: int) -> float:
        """The estimate for class ``i``."""
        return self._accepted[i] / self._observed[i]

    def of_all(self) -> list[float]:
        """The estimates for all classes."""
        return [self.of_class(i) for i in range(len(self._priors))]


_CLASSES = [0, 1, 2, 3, 4, *[5] * 4, *[6] * 8, *[7] * 16]
"""The class of each length of a match; longer ones are in the last."""
_LONGEST, _ANYWHERE = 8, 9
"""The classes of longer matches, and of two tokens that were found anywhere."""
_PRIORS = (0.2, 0.5, 0.65, 0.5, 0.65, 0.75, 0.85, 0.93, 0.98, 0.4)
"""About what was counted in edited and in new prose and source code. Two tokens that are come back
to are surer than three that are found anywhere."""
_FADING_WEIGHT = 2.0
"""Observations that these stand for at first; soon they are forgotten."""
_SLOW_DECAY = 0.95
"""What remains of a class's older observations: about twenty of them count."""
_N_LENGTHS = 64
"""Lengths of a match that have estimates of their own."""
_CLASS_WEIGHT = 3.0
"""Observations of one length that its class's estimate stands for."""


class AcceptanceRates(ClassRates):
    """Estimates for one sequence and one text that it follows, by how long the match is.

    Where rows are dear only long drafts pay, whose chances are products of many rates. So priors
    fade: ones that always count would hold each rate below what copied texts have. And passages of
    a text, such as its records, are often about equally long: what followed matches of just one
    length counts besides its class, so that drafts end where passages do.
    """

    __slots__ = ("_accepted_at", "_observed_at")

    def __init__(self) -> None:
        super().__init__(_PRIORS, _SLOW_DECAY, weight=_FADING_WEIGHT, keeps_priors=False)
        self._accepted_at = [0.0] * _N_LENGTHS
        self._observed_at = [0.0] * _N_LENGTHS

    def observe(self, n_matched: int, *, is_accepted: bool, is_anywhere: bool = False) -> None:
        """Note whether what followed a match of ``n_matched`` tokens was sampled.

        ``is_anywhere``: these are but two tokens, not near a place where the text was left.
        """
        self.observe_class(_class(n_matched, is_anywhere), is_accepted=is_accepted)
        if n_matched < _N_LENGTHS and not is_anywhere:
            accepted, observed = self._accepted_at, self._observed_at
            accepted[n_matched] = _DECAY * accepted[n_matched] + is_accepted
            observed[n_matched] = _DECAY * observed[n_matched] + 1

    def rate(self, n_matched: int, *, is_anywhere: bool = False) -> float:
        """The estimated probability that what follows such a match is sampled."""
        rate = self.of_class(_class(n_matched, is_anywhere))
        if n_matched >= _N_LENGTHS or is_anywhere:
            return rate
        accepted = self._accepted_at[n_matched] + _CLASS_WEIGHT * rate
        return accepted / (self._observed_at[n_matched] + _CLASS_WEIGHT)

    def chances(self, n_matched: int, n_tokens: int, *, is_anywhere: bool = False) -> list[float]:
        """For each of the next ``n_tokens`` tokens the probability that all up to it are."""
        chances: list[float] = []
        chance = 1.0
        for n in range(n_matched, n_matched + n_tokens):
            chance *= self.rate(n, is_anywhere=is_anywhere)
            is_anywhere = False
            chances.append(chance)
        return chances


def _class(n_matched: int, is_anywhere: bool) -> int:
    if is_anywhere:
        return _ANYWHERE
    return _CLASSES[n_matched] if n_matched < len(_CLASSES) else _LONGEST
