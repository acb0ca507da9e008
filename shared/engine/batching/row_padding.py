"""Row padding: rows that nobody needs, where a decode with them is faster than one without.

A batch of five rows took 173 ms and one of eight 152 (0.5 B model in Q8_0, one thread of an EPYC
with AVX-512). On another machine three took longer than four, and each odd number longer than the
next even one. So nothing is known beforehand: now and then a step tries a number, until what it
takes is known (`RowCosts`), and later seldom, since costs change with the length of the context.

Padding rows are tokens whose cells are removed again right after the decode. They have logits,
since the output matrix is a good part of the work.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from shared.engine.batching.plan import lengths_of_runs
from shared.engine.batching.row_costs import RowCosts
from shared.engine.kv_cache.cache import KVCache
from shared.engine.kv_cache.cells import KVEntry

_TILES = (2, 4, 8)
"""Rows that kernels compute at once; the numbers tried are the next multiples of these."""
_SAVES = 0.97
"""The part of the plain time below which padding is worth it."""
_TRY_FIRST = 2
"""Steps of which one tries a number of rows, as long as there are some of which little is known.

Three tries of each tell: what they may lose is less than what rows would cost meanwhile that take
longer than more of them do.
"""
_LOOK_EVERY = 8
"""Steps of which one looks what is best once all are known; those between do likewise."""
_HOPEFUL = 1.4
"""The part of the plain time that a number of rows may be estimated at to be worth a try."""
_TRY_AGAIN_EVERY = 128
"""The same once all are known."""


class RowPadding:
    """Chooses the padding rows of a decode."""

    def __init__(self, kv: KVCache, costs: RowCosts, n_most: int) -> None:
        """``n_most``: rows that a batch can have."""
        self._kv = kv
        self._costs = costs
        self._n_most = n_most
        self._n_steps: dict[int, int] = {}
        """Steps so far, by the rows needed."""
        self._is_known: set[int] = set()
        """Rows needed for which there is nothing to be tried but now and then."""
        self._chosen: dict[tuple[int, int], int] = {}
        """Rows that are best, by those needed and those there may be."""

    def rows_beside(self, entries: Sequence[KVEntry]) -> list[tuple[int, int]]:
        """Sequence ids and positions of padding rows for a decode of a token of each entry.

        In a pool they follow the last entry's own token. With shares each has an id of its own,
        which is free, or keeps a prefix that stays as it is.
        """
        if len(entries) < 2 or not self._kv.can_cut:  # see `n_rows`
            return []
        if self._kv.is_unified:
            last = entries[-1]
            n_free = self._kv.n_cells_free - len(entries)
            n_rows = self.n_rows(len(entries), min(self._n_most, len(entries) + n_free))
            start = last.n_evaluated + 1
            end = start + n_rows - len(entries)
            return [(last.seq_id, position) for position in range(start, end)]
        if len(entries) == self._kv.n_places:
            return []
        needed = {entry.seq_id for entry in entries}
        rows: list[tuple[int, int]] = []
        for seq_id in self.span(sorted(needed), min(self._n_most, self._kv.n_places)):
            if seq_id not in needed:
                position = self._kv.position_behind(seq_id)
                if position is None:
                    return []
                rows.append((seq_id, position))
        return rows

    def n_rows(self, n_needed: int, n_most: int) -> int:
        """Rows that a decode of ``n_needed`` should have, at most ``n_most``.

        A single row is never padded: all weights are read for it anyway.
        """
        if n_needed < 2 or n_needed >= n_most:
            return n_needed
        n_most = min(n_most, n_needed + _TILES[-1] - 1)
        n_steps = self._n_steps[n_needed] = self._n_steps.get(n_needed, 0) + 1
        every = _LOOK_EVERY if n_needed in self._is_known else _TRY_FIRST
        if n_steps % every and (chosen := self._chosen.get((n_needed, n_most))):
            return chosen
        numbers = [n for n in with_padding(n_needed) if n <= n_most]
        costs = self._costs
        limit = _SAVES * costs.seconds(n_needed)
        best = n_needed
        for n in numbers:
            if costs.is_established(n) and costs.seconds(n) < limit:
                best, limit = n, costs.seconds(n)
        self._chosen[n_needed, n_most] = best
        if n_steps % every:
            return best
        return self._next_try(numbers, best, n_steps // every)

    def span(self, seq_ids: Sequence[int], n_places: int) -> Collection[int]:
        """The sequence ids, of ``n_places`` that there are, to decode for those that are needed.

        ``seq_ids`` ascend. llama.cpp decodes consecutive ones together, and what is on both sides
        of a gap one after the other: rows in between are mostly faster.
        """
        first = seq_ids[0]
        n_needed = seq_ids[-1] + 1 - first
        if n_needed > len(seq_ids):
            seconds = self._costs.seconds
            if seconds(n_needed) > _SAVES * sum(map(seconds, lengths_of_runs(seq_ids))):
                return seq_ids
        n_rows = self.n_rows(n_needed, n_places)
        first = min(first, n_places - n_rows)
        return range(first, first + n_rows)

    def _next_try(self, numbers: list[int], best: int, n_tries: int) -> int:
        """A number of rows of which little is known; seldom another one, since costs change."""
        others = [n for n in numbers if n != best]
        costs = self._costs
        limit = _HOPEFUL * costs.seconds(numbers[0])
        others = [n for n in others if costs.seconds(n) < limit]
        unknown = [n for n in others if not costs.is_established(n)]
        if unknown:
            return unknown[0]
        self._is_known.add(numbers[0])
        n_tries, rest = divmod(n_tries, _TRY_AGAIN_EVERY // _LOOK_EVERY)
        return best if rest or not others else others[n_tries % len(others)]


def with_padding(n_needed: int) -> list[int]:
    """Numbers of rows worth a try: the plain one, and the next multiples of kernels' tiles."""
    return sorted({n_needed, *(-(-n_needed // tile) * tile for tile in _TILES)})
