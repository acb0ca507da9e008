"""KV cell counts: exact for cells that several sequences share, since each has one owner.

Sequences share prefixes only, so one number says what a sequence has from another: how many of its
first cells. An owner that gives up cells hands over those that others still use.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class KVEntry:
    """The cells of one sequence id.

    ``n_tokens`` tokens are known (written in the entry's row), the first ``n_evaluated`` of them
    are in the KV cache, and the first ``n_shared`` of those are cells of ``source``. Only entries
    with an equal ``salt`` share. ``n_restored`` tokens were not evaluated but read from elsewhere.
    """

    seq_id: int
    salt: Hashable = None
    n_tokens: int = 0
    n_evaluated: int = 0
    n_shared: int = 0
    n_restored: int = 0
    source: KVEntry | None = None
    sharers: list[KVEntry] = field(default_factory=list)

    @property
    def n_own(self) -> int:
        """Cells that this entry counts for."""
        return self.n_evaluated - self.n_shared

    def share_from(self, source: KVEntry | None, n_cells: int) -> None:
        """Have the first ``n_cells`` cells from ``source``, and from nobody else."""
        if self.source is not None:
            self.source.sharers.remove(self)
        self.source, self.n_shared = (source, n_cells) if n_cells else (None, 0)
        if self.source is not None:
            self.source.sharers.append(self)


class CellCounter:
    """Counts cells in use, however many entries use them."""

    def __init__(self) -> None:
        self.n_used = 0
        """Cells that any entry has."""

    def grow(self, entry: KVEntry, n_cells: int) -> None:
        """Count ``n_cells`` new cells of ``entry``."""
        entry.n_evaluated += n_cells
        self.n_used += n_cells

    def cut(self, entry: KVEntry, n_cells: int) -> None:
        """Leave ``entry`` its first ``n_cells`` cells; who shares others keeps them.

        The sharer with the most of them becomes their owner, and those of the other sharers are
        among its own.
        """
        orphans = [sharer for sharer in entry.sharers if sharer.n_shared > n_cells]
        heir = max(orphans, key=lambda sharer: sharer.n_shared, default=None)
        self.n_used -= entry.n_own
        if heir is not None:
            self.n_used -= heir.n_own
            for sharer in orphans:
                if sharer is not heir:
                    sharer.share_from(heir, sharer.n_shared)
            if n_cells > entry.n_shared:
                heir.share_from(entry, n_cells)
            else:
                heir.share_from(entry.source, min(heir.n_shared, entry.n_shared))
            self.n_used += heir.n_own
        entry.n_evaluated = n_cells
        entry.share_from(entry.source, min(entry.n_shared, n_cells))
        self.n_used += entry.n_own

    @staticmethod
    def n_held(entries: Iterable[KVEntry]) -> int:
        """Cells that ``entries`` have together, each counted once."""
        return HeldCells(entries).n_cells


class HeldCells:
    """Cells that some entries have together, each counted once.

    True until one of these grows or is cut, or cells that it has get another owner.
    """

    def __init__(self, entries: Iterable[KVEntry]) -> None:
        self.n_cells = 0
        self._held: dict[KVEntry, int] = {}
        """How many of an owner's first cells are."""
        for entry in entries:
            self.add(entry)

    def add(self, entry: KVEntry) -> None:
        """Count those of one more entry."""
        owner: KVEntry | None = entry
        n_cells = entry.n_evaluated
        while owner is not None and n_cells > (n_before := self._held.get(owner, 0)):
            self._held[owner] = n_cells
            self.n_cells += max(n_cells - max(n_before, owner.n_shared), 0)
            n_cells, owner = min(n_cells, owner.n_shared), owner.source
