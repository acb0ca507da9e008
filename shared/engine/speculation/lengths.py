"""Lengths of drafts: what lets every sequence of a batch get on, for what rows cost here.

A row more delays all sequences of the batch, and helps one. So lengths are those with the largest
product of all sequences' speeds: a single stream gets what is fastest for it, and in a batch nobody
is slowed down by more than others gain (proportional fairness).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

from shared.engine.speculation.cost_estimates import RowCost
from shared.engine.speculation.draft import Draft

LEAST_GAIN = 0.02
"""The logarithm of the speed, for each sequence, below which a gain is not worth an estimate."""

Owner = TypeVar("Owner")


def choose_lengths(
    drafts: Mapping[Owner, Draft], n_sequences: int, cost: RowCost, room: int
) -> dict[Owner, int]:
    """How many tokens of each draft to evaluate beside ``n_sequences``; without those of none.

    ``room``: rows that there may be more.
    """
    steps = [step for owner, draft in drafts.items() for step in _steps(owner, draft)]
    steps.sort(key=lambda step: step[0], reverse=True)
    plain = cost(n_sequences)
    n_best, best, total = 0, LEAST_GAIN * n_sequences, 0.0
    for n, (gain, _) in enumerate(steps[:room], start=1):
        total += gain
        value = total - n_sequences * math.log(cost(n_sequences + n) / plain)
        if value > best:
            n_best, best = n, value
    lengths: dict[Owner, int] = {}
    for _, owner in steps[:n_best]:
        lengths[owner] = lengths.get(owner, 0) + 1
    return lengths


def choose_common_length(
    drafts: Mapping[Owner, Draft], n_sequences: int, cost: RowCost, room: int
) -> dict[Owner, int]:
    """The same where llama.cpp would cut up a batch whose sequences have different lengths.

    Then all have one, or none has any: each part reads all weights once more.
    """
    if len(drafts) < n_sequences:
        return {}
    longest = min(room // n_sequences, *(len(draft.tokens) for draft in drafts.values()))
    totals = [1.0] * n_sequences
    plain = cost(n_sequences)
    n_best, best = 0, LEAST_GAIN * n_sequences
    for n in range(1, longest + 1):
        totals = [
            total + draft.chances[n - 1]
            for total, draft in zip(totals, drafts.values(), strict=True)
        ]
        slowdown = cost(n_sequences * (1 + n)) / plain
        value = sum(map(math.log, totals)) - n_sequences * math.log(slowdown)
        if value > best:
            n_best, best = n, value
    return dict.fromkeys(drafts, n_best) if n_best else {}


def _steps(owner: Owner, draft: Draft) -> list[tuple[float, Owner]]:
    """What each token of a draft adds to the logarithm of the sequence's speed, descending."""
    steps: list[tuple[float, Owner]] = []
    expected = 1.0
    for chance in draft.chances:
        steps.append((math.log1p(chance / expected), owner))
        expected += chance
    return steps
