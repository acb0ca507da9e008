"""An exact model of llama.cpp's KV cache: every cell, what is in it, and who has it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from shared.engine.llama.context import KVCacheFullError
from shared.engine.llama.sequence_state import Bytes

Prefix = tuple[int, ...]


class Cell:
    """One cell. What it stands for depends on all tokens before it, too."""

    def __init__(self, prefix: Prefix) -> None:
        self.prefix = prefix


class Cells:
    """Stands in for llama.cpp's memory (`KVMemory`)."""

    def __init__(self, n_ctx: int, n_seq_max: int, *, is_unified: bool) -> None:
        self.n_ctx = n_ctx
        self.n_ctx_seq = n_ctx if is_unified else n_ctx // n_seq_max
        self.is_unified = is_unified
        self.rows: dict[int, list[Cell]] = {}
        self.copied: set[int] = set()
        """Sequences whose cells are copied with the next batch, as they are then."""
        self.copies: set[int] = set()
        """Those that they are copied to: what is in their cells is something else until then."""

    def n_used_by(self, seq_ids: Iterable[int]) -> int:
        """Cells that ``seq_ids`` have together."""
        return len({id(cell) for seq_id in seq_ids for cell in self.rows.get(seq_id, ())})

    @property
    def n_used(self) -> int:
        return self.n_used_by(self.rows)

    def evaluate(self, chunks: list[tuple[int, Prefix]], *, stops_after: int | None = None) -> None:
        """Append cells to sequences, all of a batch's or none: `KVCacheFullError`.

        With ``stops_after``, only so many: a batch that fails in one of its parts.
        """
        n_new = sum(len(tokens) for _, tokens in chunks)
        if self.is_unified and n_new > self.n_ctx - self.n_used:
            raise KVCacheFullError
        self.copied.clear()
        self.copies.clear()
        room = n_new if stops_after is None else stops_after
        for seq_id, tokens in chunks:
            row = self.rows.setdefault(seq_id, [])
            for token in tokens[:room]:
                row.append(Cell((*(row[-1].prefix if row else ()), token)))
            assert len(row) <= self.n_ctx_seq
            room -= len(tokens[:room])

    def remove_cells(self, seq_id: int, start: int = 0) -> bool:
        del self.rows.setdefault(seq_id, [])[start:]
        return True

    def share_cells(self, source: int, target: int, n_tokens: int) -> bool:
        shared = self.rows[source][:n_tokens]
        if not self.is_unified:
            self.copied.add(source)
            self.copies.add(target)
        assert not self.rows.get(target)
        self.rows[target] = shared if self.is_unified else [Cell(cell.prefix) for cell in shared]
        return True

    def write_state(self, seq_id: int, state: Bytes) -> bool:
        """Of a state that is just the tokens."""
        assert seq_id not in self.copied | self.copies
        tokens = state.view(np.int32).tolist()
        self.rows[seq_id] = []
        if len(tokens) > (self.n_ctx - self.n_used if self.is_unified else self.n_ctx_seq):
            return False
        copied, copies = self.copied.copy(), self.copies.copy()
        self.evaluate([(seq_id, tuple(tokens))])
        self.copied, self.copies = copied, copies
        return True

    def positions(self, seq_id: int) -> tuple[int, int]:
        row = self.rows.get(seq_id)
        return (0, len(row) - 1) if row else (-1, -1)
