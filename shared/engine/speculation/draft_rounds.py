"""Rounds of a draft model: how many more tokens it should draft, by what that takes and may give.

A round drafts one more token for each of several sequences. It takes time, and so do the rows that
the target model then evaluates. What the next tokens' chances are is not known yet: they are taken
to be the usual ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Course:
    """How far the drafting for one sequence is.

    - ``rate``: the probability that a further token is accepted, if all before it are.
    - ``chance``: that all so far are.
    - ``expected``: tokens that the step brings the sequence with what is drafted so far.
    """

    rate: float
    chance: float = 1.0
    expected: float = 1.0

    def add(self, rate: float) -> float:
        """Note one more token, accepted with probability ``rate`` if all before it are.

        The probability that all are.
        """
        self.chance *= rate
        self.expected += self.chance
        return self.chance


def best_rounds(
    courses: Sequence[Course], n_sequences: int, seconds: Callable[[int], float], most: int
) -> tuple[int, float]:
    """The number of further rounds, ``most`` at most, with the largest product of all speeds.

    And what the logarithm of that product is above that of none. ``seconds``: what a step takes
    with so many more rounds for all of ``courses``, beside the other of ``n_sequences``.
    """
    plain = seconds(0)
    n_best, best = 0, 0.0
    added = [0.0] * len(courses)
    chances = [course.chance for course in courses]
    for n in range(1, most + 1):
        value = -n_sequences * math.log(seconds(n) / plain)
        for i, course in enumerate(courses):
            chances[i] *= course.rate
            added[i] += chances[i]
            value += math.log1p(added[i] / course.expected)
        if value > best:
            n_best, best = n, value
    return n_best, best
