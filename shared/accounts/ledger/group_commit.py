"""Group commit: changes of one record wait for its write, and one thread writes those of all.

While a write is under way others queue. Whoever comes first of these leads next: it takes all that
wait into one write, and tells the others what became of theirs.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar


@dataclass(slots=True, kw_only=True)
class Waiting:
    """A change that waits for its write."""

    is_done: threading.Event = field(default_factory=threading.Event)
    leads: bool = False
    """Whether it is its own thread's to write all."""


WaitingT = TypeVar("WaitingT", bound=Waiting)


class CommitQueue(Generic[WaitingT]):
    """What waits for the writes of one record. For several threads."""

    def __init__(self, lock: threading.Lock) -> None:
        """``lock`` guards the queue, and may guard more."""
        self._lock = lock
        self._waiting: list[WaitingT] = []
        self.has_leader = False
        """Whether a write is under way; whoever holds the lock may lead if not."""

    def wait(self, change: WaitingT) -> bool:
        """Wait until a change is written; True where the caller leads instead.

        Then it is to `take` what waits, its own change too, and to `hand_over`.
        """
        with self._lock:
            self._waiting.append(change)
            change.leads = not self.has_leader
            self.has_leader = True
        if not change.leads:
            change.is_done.wait()
        return change.leads

    def take(self) -> list[WaitingT]:
        """All that waits, for the leader."""
        with self._lock:
            batch, self._waiting = self._waiting, []
        return batch

    def hand_over(self, batch: Sequence[WaitingT] = ()) -> None:
        """Let whoever waits first lead next, and tell those of a batch that it is done."""
        with self._lock:
            heir = self._waiting[0] if self._waiting else None
            self.has_leader = heir is not None
            if heir is not None:
                heir.leads = True
        for change in batch:
            change.is_done.set()
        if heir is not None:
            heir.is_done.set()
