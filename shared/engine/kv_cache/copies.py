"""Copies of KV cells between sequences that have shares: when they pay, and which are to come."""

from __future__ import annotations

MOST_COPIED_FOR = 32
"""Without a pool, sharing copies a whole share of cells. A prefix that is longer is always worth
it; see `least_copied`."""


def least_copied(share_bytes: int, weight_bytes: int) -> int:
    """The tokens of a prefix that take longer to evaluate than a share of cells takes to be copied.

    A copy took 0.6 ms and 0.2 ms for each MB, on a CPU; a token of a prompt 10 ms with 530 MB of
    weights on two cores, 0.07 ms with 2.4 MB. More cores evaluate faster and copy no faster: hence
    three times the bytes. Known beforehand, so that the same is cached whenever it is asked for.
    """
    return min(2 + 32 * (share_bytes + 2**20) // max(weight_bytes, 1), MOST_COPIED_FOR)


class PendingCopies:
    """Copies that llama.cpp makes with the next decode, in order, of cells as they are then."""

    def __init__(self) -> None:
        self._sources: set[int] = set()
        self.targets: set[int] = set()
        """Sequence ids that have something else in their cells until then."""

    def __contains__(self, seq_id: int) -> bool:
        """Whether a sequence is copied from or to, so that nobody else may write into its cells."""
        return seq_id in self._sources or seq_id in self.targets

    def add(self, source: int, target: int) -> None:
        """Note one more."""
        self._sources.add(source)
        self.targets.add(target)

    def clear(self) -> None:
        """Note that all were made."""
        self._sources.clear()
        self.targets.clear()
