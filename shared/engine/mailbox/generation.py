"""Generation: the outputs of submitted requests, from the engine's thread to an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence

from shared.engine.prefixes.pending import Writes
from shared.engine.types import GenerationRequest, Output

Delivery = tuple["Generation", Output]


class Generation:
    """Submitted requests, one or several prompts of one caller, as its event loop sees them.

    Iterating gives lists of outputs: everything that came since the last look, so that a slow
    reader makes few large writes rather than falling behind. Choices are numbered through all
    requests. The iteration ends when every choice has ended, or after `cancel`, which must follow
    when it is left early.
    """

    def __init__(
        self,
        requests: Sequence[GenerationRequest],
        loop: asyncio.AbstractEventLoop,
        cancel: Callable[[Generation], None],
        tenant: str = "",
    ) -> None:
        self.requests = requests
        self.tenant = tenant
        self.loop = loop
        self.submitted = time.monotonic()
        self.is_queued = True
        """Counted in the bounded queue; the engine clears it."""
        self.reached_deadline = False
        """Whether a request's deadline has ended a choice."""
        self.writes = Writes()
        """What is written to the store of prefixes meanwhile."""
        self._cancel = cancel
        self.n_sequences = sum(request.n for request in requests)
        self._n_open = self.n_sequences
        self._outputs: list[Output] = []
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_finished(self) -> bool:
        """Whether every choice has ended and its last output was taken."""
        return self._n_open == 0 and not self._outputs

    async def receive(self) -> list[Output]:
        """All outputs that are due, waiting for the first; empty after `wake`."""
        if not self._outputs:
            self._waiter = self.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        outputs, self._outputs = self._outputs, []
        return outputs

    async def __aiter__(self) -> AsyncIterator[list[Output]]:
        while not self.is_finished:
            yield await self.receive()

    def wake(self) -> None:
        """Let a waiting `receive` return, with whatever there is."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def cancel(self) -> None:
        """Free the sequences at the engine's next step. Harmless when all have ended."""
        if self._n_open:
            self._n_open = 0
            self._outputs.clear()
            self._cancel(self)
            self.wake()

    def push(self, output: Output) -> None:
        """Take an output; on the event loop's thread."""
        if not self._n_open:
            return  # cancelled meanwhile
        self._outputs.append(output)
        self.reached_deadline |= output.reached_deadline
        if output.finish_reason is not None:
            self._n_open -= 1
        self.wake()


def deliver(
    deliveries: list[Delivery], running: asyncio.AbstractEventLoop | None = None
) -> list[Generation]:
    """Hand one step's outputs to their event loops, waking each loop once.

    ``running``: the loop that has called, if any. Returns the generations whose loop is closed, so
    that nobody waits for them any more.
    """
    loops = {deliveries[0][0].loop}
    if len(deliveries) > 1:
        loops.update(generation.loop for generation, _ in deliveries)
    abandoned: list[Generation] = []
    for loop in loops:
        part = deliveries
        if len(loops) > 1:
            part = [delivery for delivery in deliveries if delivery[0].loop is loop]
        if loop is running:
            _push_all(part)
            continue
        try:
            loop.call_soon_threadsafe(_push_all, part)
        except RuntimeError:  # the loop is closed
            abandoned.extend(generation for generation, _ in part)
    return abandoned


def _push_all(deliveries: list[Delivery]) -> None:
    for generation, output in deliveries:
        generation.push(output)
