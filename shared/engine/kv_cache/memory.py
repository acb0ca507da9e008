"""Memory operations on KV cells: what the cache asks of llama.cpp."""

from __future__ import annotations

from typing import Protocol

from shared.engine.llama.sequence_state import Bytes


class KVMemory(Protocol):
    """The memory operations that a cache needs; `shared.engine.llama.context.Context` has them."""

    @property
    def n_ctx(self) -> int:
        """Cells of all sequences together."""

    @property
    def n_ctx_seq(self) -> int:
        """Cells that one sequence can have."""

    @property
    def is_unified(self) -> bool:
        """Whether the cells are one pool."""

    def remove_cells(self, seq_id: int, start: int = 0) -> bool:
        """Drop cells of ``seq_id`` from position ``start`` on; False where the memory can't."""

    def share_cells(self, source: int, target: int, n_tokens: int) -> bool:
        """Let ``target`` use the first ``n_tokens`` cells of ``source``; False where it can't."""

    def positions(self, seq_id: int) -> tuple[int, int]:
        """The first and the last position that ``seq_id`` has cells for; -1 for none."""

    def write_state(self, seq_id: int, state: Bytes) -> bool:
        """Give ``seq_id`` the cells of ``state``, and no others; False where it gets none."""
