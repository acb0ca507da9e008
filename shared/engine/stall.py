"""Stall detection: as long as there are sequences, the engine has to make steps."""

from __future__ import annotations

import time

_STALL_SECONDS = 300.0
"""Without a step or an end, after which the engine counts as stalled. A batch of 512 prompt tokens
takes minutes where a large model runs on a small CPU."""
_SPIN_TURNS = 1000
"""Turns in that time by which an engine that spins differs from a process that was frozen."""


class Progress:
    """When the engine last got on. Written by its thread, read by any."""

    def __init__(self) -> None:
        self.is_idle = True
        """Whether there is nothing to do."""
        self._last = 0.0
        self._n_turns = 0

    def note(self) -> None:
        """A step was made, or sequences have ended, or the first one is there."""
        self._last = time.monotonic()
        self._n_turns = 0

    @property
    def is_stalled(self) -> bool:
        """Whether nothing has been noted for minutes, although there are sequences."""
        return not self.is_idle and time.monotonic() - self._last > _STALL_SECONDS

    def is_spinning(self) -> bool:
        """Count a turn of the engine's loop; whether it is stalled by turns that lead nowhere."""
        self._n_turns += 1
        return self._n_turns > _SPIN_TURNS and self.is_stalled
