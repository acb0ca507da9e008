"""Worth of a draft model: the time that drafts may save sequences before their texts end."""

from __future__ import annotations

import math
from collections import deque

from shared.engine.speculation.batch_shape import BatchShape
from shared.engine.speculation.cost_estimates import RowCost
from shared.engine.speculation.draft_rounds import Course, best_rounds
from shared.engine.speculation.drafting import Drafting
from shared.engine.speculation.model_rates import ModelRates

_HORIZON = 128
"""Tokens of a completion that catching up with its prompt has to pay off in."""
_TOLD = 4
"""Observations from which on a sequence is judged by its own."""
FEW = 2
"""Sequences that tell what is to be expected of all others of their batch."""
_RECENT = 16
"""Sequences whose rates tell what is to be expected of the next."""
_LEAST_GAIN = 0.05
"""The logarithm of the speed below which a gain may as well be an error of the estimates."""
_STEPS_OF_RATE = 50
"""Parts of the rates from 0 to 1 within which drafts are taken to save as much."""


class DraftWorth:
    """Estimates from what drafting and verification cost, and from rates of what came before."""

    def __init__(self, cost: RowCost, target_cost: RowCost) -> None:
        """``cost``: of the draft model's rows."""
        self._cost = cost
        self._target_cost = target_cost
        self._recent: deque[ModelRates] = deque(maxlen=_RECENT)
        """Those of the sequences that came last."""
        self._savings: dict[tuple[int, int], float] = {}
        self._expected: dict[int, float] = {}
        """What sequences save of which nothing is known, by their longest drafts."""
        self._shape = BatchShape((1,))

    def add(self, rates: ModelRates) -> None:
        """Note a new sequence's rates."""
        self._recent.append(rates)

    def begin_step(self, shape: BatchShape, *, forgets: bool) -> None:
        """Note the shape of a step; ``forgets``: whether costs have changed since the last one."""
        self._expected.clear()
        if forgets or shape != self._shape:
            self._savings.clear()
            self._shape = shape

    def seconds(self, drafting: Drafting) -> float:
        """What drafts may save a sequence, if all others of the step have them, too."""
        longest = drafting.n_longest
        if is_told(drafting):
            saved = self._saving(drafting.rates.mean, longest)
        elif (known := self._expected.get(longest)) is not None:
            saved = known
        else:
            rates = self._rates_before() or [drafting.rates.mean]
            saved = sum(self._saving(rate, longest) for rate in rates) / len(rates)
            self._expected[longest] = saved
        return _n_tokens(drafting) * saved * self._plain()

    def common_seconds(self, draftings: list[Drafting]) -> float:
        """What drafts of one length may save all sequences together.

        That is less than the sum of what each would have of its own best length. Those of which
        little is known are taken to be like others of the batch, if a few of these have told.
        """
        longest = min(each.n_longest for each in draftings)
        means = [each.rates.mean for each in draftings if is_told(each)]
        if len(means) < FEW:
            before = self._rates_before()
            means += [
                sum(before) / len(before) if before else each.rates.mean
                for each in draftings
                if not is_told(each)
            ]
        courses = [Course(mean) for mean in means]
        _, gain = best_rounds(courses, len(courses), self._step_seconds, longest)
        return _saved(gain / len(courses)) * self._plain() * sum(map(_n_tokens, draftings))

    def _rates_before(self) -> list[float]:
        """Rates of the sequences that came last.

        Some texts are easy for a draft model and others hopeless. So as long as little is known of
        one, it may be like any of those before it.
        """
        return [each.mean for each in self._recent if each.n_observed >= _TOLD]

    def _saving(self, rate: float, longest: int) -> float:
        """The part of a step's time that drafts for all sequences save with that rate."""
        key = round(_STEPS_OF_RATE * rate), longest
        if (known := self._savings.get(key)) is not None:
            return known
        _, gain = best_rounds([Course(rate)], 1, self._step_seconds, longest)
        saved = self._savings[key] = _saved(gain)
        return saved

    def _plain(self) -> float:
        """What a step takes without drafts."""
        return self._shape.seconds(self._target_cost, self._shape.n_sequences)

    def _step_seconds(self, n: int) -> float:
        """What a step takes with so many tokens drafted for each sequence."""
        shape = self._shape
        rounds = shape.seconds(self._cost, shape.n_sequences) if n else 0.0
        return n * rounds + shape.seconds(self._target_cost, (1 + n) * shape.n_sequences)


def is_told(drafting: Drafting) -> bool:
    """Whether enough is known of a sequence's rate to judge it by that."""
    return drafting.rates.n_observed >= _TOLD


def _n_tokens(drafting: Drafting) -> int:
    return min(drafting.sequence.n_remaining, _HORIZON)


def _saved(gain: float) -> float:
    """The part of the time that is saved by a gain, the logarithm of a speed."""
    return 1 - math.exp(-gain) if gain > _LEAST_GAIN else 0.0
