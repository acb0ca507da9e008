"""Inbox of the engine's thread: what callers hand to it, and the bounds on that."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Literal

from shared.engine.mailbox.generation import Generation
from shared.engine.mailbox.queue_limits import Load
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
        self._letters: deque[Letter] = deque()
        self._wake_ups: queue.SimpleQueue[None] = queue.SimpleQueue()
        """For the reader that waits. One too many does no harm."""
        self._is_waiting = False
        self._load = load
        self._lock = threading.Lock()
        self._is_closed = False

    def check(self, tenant: str, n_sequences: int) -> None:
        """Raise what `submit` would raise now for so many sequences."""
        with self._lock:
            self._check_open()
            self._load.check(tenant, n_sequences)

    def submit(self, generation: Generation) -> None:
        """Hand over a caller's requests; on its event loop, which is to `wake_soon` the reader.

        Raises `TooManySequencesError`, `QueueFullError`, and `EngineStoppedError` when nobody reads
        the inbox any more.
        """
        with self._lock:
            self._check_open()
            self._load.take(generation.tenant, generation.n_sequences)
            self.n_queued += 1
            self._letters.append(("submit", generation))

    def wake_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake the reader in the next turn of ``loop``, whose thread this is.

        By then the loop has nothing else to do, most of the time. Woken at once, the reader would
        wait for the interpreter, which the loop still holds, and go back to sleep.
        """
        if self._is_waiting:
            loop.call_soon(self._wake)

    def _check_open(self) -> None:
        if self._is_closed:
            raise EngineStoppedError("the engine is not running")

    def put(self, letter: Letter) -> None:
        """Ask for something else."""
        self._letters.append(letter)
        self._wake()

    def has_letters(self) -> bool:
        """Whether there is something to read now."""
        return bool(self._letters)

    @property
    def n_letters(self) -> int:
        """How much there is to read now."""
        return len(self._letters)

    def wait(self, seconds: float | None) -> None:
        """Wait until there is something to read, for ``seconds`` at most."""
        self._is_waiting = True
        if not self._letters:  # who writes looks whether anybody waits, after that
            with suppress(queue.Empty):
                self._wake_ups.get(timeout=seconds)
        self._is_waiting = False

    def await_letter(self) -> None:
        """Wait until there is something to read."""
        while not self._letters:
            self.wait(None)

    def read(self) -> Letter:
        """The next letter; there has to be one."""
        return self._letters.popleft()

    def _wake(self) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self._wake_ups.put(None)

    def close(self) -> list[Generation]:
        """Take no more; the requests that were handed over and never read."""
        with self._lock:
            self._is_closed = True
        unread: list[Generation] = []
        while self._letters:
            kind, subject = self._letters.popleft()
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
