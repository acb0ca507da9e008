"""Outbox: outputs of the engine's steps until event loops are given them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter

from shared.engine.mailbox.generation import Delivery, Generation, deliver

_TOGETHER_SECONDS = 0.0003
"""What came in the meantime is handed over at once: to wake an event loop takes a good part of it.

Only tiny models have steps as short as that.
"""


class Outbox:
    """Outputs that are due, and when they are handed over. Of whoever takes the engine's turn.

    That is right before the thread lets go of the interpreter, for `llama_decode` or since it has
    hardly anything left to do: an event loop that is woken before waits for it, and each of both
    wakes the other once more.
    """

    def __init__(self, on_abandoned: Callable[[Generation], None]) -> None:
        """``on_abandoned`` is called for a generation whose event loop is closed."""
        self._on_abandoned = on_abandoned
        self._deliveries: list[Delivery] = []
        self._handed_over = 0.0
        self.is_urgent = False
        """Whether what comes next may take long, so that nothing is to wait for it."""
        self.running_loop: asyncio.AbstractEventLoop | None = None
        """The event loop whose thread this is, in an inline turn."""

    def add(self, deliveries: list[Delivery]) -> None:
        """Have outputs handed over soon."""
        self._deliveries += deliveries

    def hand_over(self) -> None:
        """Hand over what there is. Where the event loop is closed, nobody wants more of it."""
        if self._deliveries:
            self._handed_over = perf_counter()
            deliveries, self._deliveries = self._deliveries, []
            for generation in deliver(deliveries, self.running_loop):
                self._on_abandoned(generation)

    def hand_over_due(self) -> None:
        """The same, unless it was done a moment ago and the next step is as short as the last."""
        if self.is_urgent or perf_counter() - self._handed_over > _TOGETHER_SECONDS:
            self.hand_over()
