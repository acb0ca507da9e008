"""Batch shape: which sequences of a step llama.cpp decodes together, and what that makes it cost.

With a pool of KV cells that is all of them. Where sequences have shares, it is those with
consecutive ids and equally many tokens: each such group reads all weights once more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from shared.engine.batching.plan import lengths_of_runs
from shared.engine.speculation.cost_estimates import RowCost


@dataclass(frozen=True)
class BatchShape:
    """Numbers of sequences that are decoded together, one group after the other.

    ``n_padded``: rows that a token of each may have instead, see `RowPadding`; 0 where it may not.
    """

    groups: tuple[int, ...]
    n_padded: int = 0

    @classmethod
    def of(cls, seq_ids: Iterable[int], *, is_unified: bool, pads: bool = False) -> BatchShape:
        """That of sequences with these ids.

        ``is_unified``: whether they have a pool of cells, ``pads``: whether padding may be between.
        """
        ids = sorted(seq_ids)
        if is_unified or len(ids) == 1:
            return cls((len(ids),))
        return cls(tuple(lengths_of_runs(ids)), (ids[-1] + 1 - ids[0]) * pads)

    @cached_property
    def n_sequences(self) -> int:
        """All of them."""
        return sum(self.groups)

    @cached_property
    def _sizes(self) -> Counter[int]:
        """How many groups there are of each size."""
        return Counter(self.groups)

    def n_rows(self, n_together: int) -> int:
        """Rows in all, equally many for each sequence, if a group has ``n_together`` at most.

        That may be a draft of one token for each in any case.
        """
        return max(n_together // max(self.groups), 2) * self.n_sequences

    def seconds(self, cost: RowCost, n_rows: int) -> float:
        """What ``n_rows`` rows take, of equally many for each sequence if there are groups.

        ``cost``: of rows that are decoded together.
        """
        if len(self.groups) == 1:
            return cost(n_rows)
        n_each = -(-n_rows // self.n_sequences)
        seconds = sum(count * cost(n * n_each) for n, count in self._sizes.items())
        return min(seconds, cost(self.n_padded)) if n_each == 1 and self.n_padded else seconds


def seconds_in_pieces(cost: RowCost, n_tokens: Mapping[int, int]) -> float:
    """What it takes to evaluate some tokens of each sequence, by its id: with shares."""
    seconds, n_done = 0.0, 0
    for n in sorted(set(n_tokens.values())):
        longer = [seq_id for seq_id, each in n_tokens.items() if each >= n]
        shape = BatchShape.of(longer, is_unified=False)
        seconds += shape.seconds(cost, (n - n_done) * len(longer))
        n_done = n
    return seconds
