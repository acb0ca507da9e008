"""Inbox of the engine's thread: what callers hand to it, and the bounds on that."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterable
from typing import Literal

from shared.engine.generation import Generation
from shared.engine.queue_limits import Load
from shared.engine.sequence import Sequence
from shared.engine.types import EngineStoppedError

Letter = (
    tuple[Literal["submit", "cancel", "found"], Generation]
    | tuple[Literal["forget"], str]
    | tuple[Literal["abort", "wake"], None]
)


class Inbox:
    """A queue that one thread reads. Everything else may be called from any thread."""

    def __init__(self, load: Load) -> None:
        self.n_queued = 0
        """Requests none of whose sequences was in the batch yet."""
        self._letters: queue.SimpleQueue[Letter] = queue.SimpleQueue()
        self._next: deque[Letter] = deque()
        """What `wait` has found."""
        self._load = load
        self._lock = threading.Lock()
        self._is_closed = False

    def check(self, tenant: str, n_sequences: int) -> None:
        """Raise what `submit` would raise now for so many sequences."""
        with self._lock:
            self._check_open()
            self._load.check(tenant, n_sequences)

    def submit(self, generation: Generation) -> None:
        """Hand over a caller's requests.

        Raises `TooManySequencesError`, `QueueFullError`, and `EngineStoppedError` when nobody reads
        the inbox any more.
        """
        with self._lock:
            self._check_open()
            self._load.take(generation.tenant, generation.n_sequences)
            self.n_queued += 1
            self._letters.put(("submit", generation))

    def _check_open(self) -> None:
        if self._is_closed:
            raise EngineStoppedError("the engine is not running")

    def put(self, letter: Letter) -> None:
        """Ask for something else."""
        self._letters.put(letter)

    def is_empty(self) -> bool:
        """Whether there is nothing to read now."""
        return not self._next and self._letters.empty()

    def wait(self, seconds: float | None) -> None:
        """Wait until there is something to read, for ``seconds`` at most."""
        if self._next:
            return
        try:
            self._next.append(self._letters.get(timeout=seconds))
        except queue.Empty:
            return

    def read(self) -> Letter:
        """The next letter, waiting for it."""
        return self._next.popleft() if self._next else self._letters.get()

    def close(self) -> list[Generation]:
        """Take no more; the requests that were handed over and never read."""
        with self._lock:
            self._is_closed = True
        unread: list[Generation] = []
        while not self.is_empty():
            kind, subject = self.read()
            if kind == "submit" and isinstance(subject, Generation):
                unread.append(subject)
        return unread

    def leave_queue(self, generation: Generation) -> None:
        """Note that a sequence of ``generation`` is in the batch, or never will be."""
        with self._lock:
            if generation.is_queued:
                generation.is_queued = False
                self.n_queued -= 1

    def give_back(self, ended: Iterable[Sequence]) -> None:
        """Note that sequences have ended, which makes room for others."""
        with self._lock:
            for sequence in ended:
                self._load.give_back(sequence.generation.tenant, 1)

    def give_up(self, generation: Generation) -> None:
        """Note that ``generation`` never became sequences."""
        self.leave_queue(generation)
        with self._lock:
            self._load.give_back(generation.tenant, generation.n_sequences)
