"""Batch splitting: sequences decoded in several calls, where these take less time than one.

A batch of five rows took 173 ms, one of four 108 and one of a single row 35, and two rows took
longer than each by itself (0.5 B model in Q8_0, one thread of an EPYC with AVX-512): a batch of
several rows is computed by other kernels, in tiles. Elsewhere, as on a GPU, several calls only
read all weights several times. So it follows what decodes were seen to take (`RowCosts`).
"""

from __future__ import annotations

from collections.abc import Iterator

from shared.engine.batching.plan import Plan, are_consecutive
from shared.engine.batching.row_costs import RowCosts
from shared.engine.batching.row_padding import with_padding

_MOST_ROWS = 64
"""Sequences up to which splitting is looked for: each choice looks at every number up to it."""
_TILES = (1, 2, 4, 8)
"""Rows that kernels compute at once; the first call of several has a multiple of one of these."""
_SAVES = 0.95
"""The part of a single call's time below which several are worth it."""
_HOPEFUL = 1.1
"""The part of a single call's time that several may be estimated at to be worth a try."""
_CALL_SECONDS = 2e-4
"""What a call more takes around ``llama_decode``."""
_CHOOSE_EVERY = 8
"""Steps for which a choice stays."""
_TRY_EVERY = 16
"""Steps of which one tries what little is known of. Most is known from when streams began."""
_TRY_AGAIN_EVERY = 128
"""Steps of which one is a single call where several are chosen: its cost changes, too."""


class BatchSplitter:
    """Chooses how many sequences are decoded in each call of a step."""

    def __init__(self, costs: RowCosts, *, is_unified: bool) -> None:
        """``is_unified``: whether sequences have one pool of KV cells rather than shares."""
        self._costs = costs
        self._is_unified = is_unified
        self._n_steps: dict[int, int] = {}
        """Steps so far, by the sequences that decode."""
        self._chosen: dict[int, tuple[int, ...]] = {}

    def split(self, plan: Plan) -> Iterator[Plan]:
        """The calls of a plan. Prompts and drafts are in one: they are what fills a batch.

        With shares, sequences whose ids are not consecutive are decoded by parts anyway.
        """
        decodes = plan.decodes
        if plan.chunks or plan.drafts or len(decodes) < 2:
            yield plan
            return
        if not (self._is_unified or are_consecutive(decodes)):
            yield plan
            return
        sizes = self.sizes(len(decodes))
        if len(sizes) == 1:
            yield plan
            return
        start = 0
        for size in sizes:
            yield Plan(decodes=decodes[start : start + size])
            start += size

    def sizes(self, n_sequences: int) -> tuple[int, ...]:
        """The sequences of each call, in order, for so many that decode a token."""
        whole: tuple[int, ...] = (n_sequences,)
        if n_sequences < 2 or n_sequences > _MOST_ROWS:
            return whole
        n_steps = self._n_steps.get(n_sequences, 0) + 1
        self._n_steps[n_sequences] = n_steps
        if n_steps % _CHOOSE_EVERY:
            return self._chosen.get(n_sequences, whole)
        best = self._chosen[n_sequences] = self._best(n_sequences)
        if best != whole:
            return best if n_steps % _TRY_AGAIN_EVERY else whole
        return best if n_steps % _TRY_EVERY else next(self._unknown(n_sequences), whole)

    def _best(self, n_sequences: int) -> tuple[int, ...]:
        """What takes the least time of what is known; a single call where that is not known."""
        whole: tuple[int, ...] = (n_sequences,)
        if not self._is_known(n_sequences):
            return whole
        best, limit = whole, _SAVES * self._seconds(whole)
        for first in _first_sizes(n_sequences):
            rest = n_sequences - first
            if self._is_known(first) and self._is_known(rest):
                sizes = (first, *self._best(rest))
                if (seconds := self._seconds(sizes)) < limit:
                    best, limit = sizes, seconds
        return best

    def _unknown(self, n_sequences: int) -> Iterator[tuple[int, ...]]:
        """Pairs of calls that would tell what is not known yet, and may be faster."""
        seconds = self._costs.seconds
        limit = _HOPEFUL * seconds(n_sequences)
        for first in _first_sizes(n_sequences):
            rest = n_sequences - first
            is_known = self._is_known(first) and self._is_known(rest)
            if not is_known and seconds(first) + seconds(rest) < limit:
                yield first, rest

    def _is_known(self, n_rows: int) -> bool:
        return self._costs.is_established(n_rows)

    def _seconds(self, sizes: tuple[int, ...]) -> float:
        return sum(map(self._call_seconds, sizes)) + _CALL_SECONDS * (len(sizes) - 1)

    def _call_seconds(self, n_rows: int) -> float:
        """What a call for ``n_rows`` takes, with padding where that is faster."""
        costs = self._costs
        numbers = with_padding(n_rows) if n_rows > 1 else [n_rows]
        return min(costs.seconds(n) for n in numbers if costs.is_established(n))


def _first_sizes(n_sequences: int) -> list[int]:
    """Largest multiples of tiles that leave something for another call."""
    sizes = {(n_sequences - 1) // tile * tile for tile in _TILES}
    return sorted(sizes - {0}, reverse=True)
