"""Turns of the engine's loop: its thread takes them, or an event loop one while the thread waits.

To hand a prompt to the engine's thread, and its token back, takes 0.2 ms: both threads have to
wake, on processors whose caches have none of their code. With a tiny model that is a seventh of a
request of one token. So an event loop that has nothing else to do evaluates such a request itself.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence

import numpy as np

from shared.engine.batching.throughput import ThroughputEstimate
from shared.engine.mailbox.inbox import Inbox
from shared.engine.step_loop import StepLoop
from shared.engine.types import GenerationRequest

_log = logging.getLogger("pilotlight.engine")

_INLINE_SECONDS = 0.004
"""What a prompt and its token may take on an event loop, which does nothing else meanwhile."""


class Turns:
    """What the engine's thread runs, from its start to its end; and inline turns."""

    def __init__(
        self,
        loop: StepLoop,
        inbox: Inbox,
        throughput: ThroughputEstimate,
        *,
        may_be_inline: bool,
    ) -> None:
        """``may_be_inline``: whether llama.cpp computes on no other threads than the caller's.

        OpenMP would make others for each of two callers, and have both wait less patiently.
        """
        self.is_stopped = False
        """Whether they end or have ended, for whatever reason."""
        self.has_died = False
        """Whether a fault has ended them."""
        self._loop = loop
        self._inbox = inbox
        self._throughput = throughput
        self._may_be_inline = may_be_inline
        self._lock = threading.Lock()
        """Of whoever takes a turn; the engine's thread has it but while it waits."""

    def stop(self) -> None:
        """Have them end after this step; from any thread."""
        self.is_stopped = True
        self._inbox.put(("wake", None))

    def run(self) -> None:
        """Take turns until they are stopped, then tell everybody who still waits."""
        with self._lock:
            try:
                with np.errstate(over="ignore"):  # `InverseTransform` looks for it
                    while not self.is_stopped:
                        if self._loop.progress.is_idle:
                            self._await_letter()
                        if not self.is_stopped:
                            self._loop.take_turn()
            except Exception:
                self._die()
            finally:
                self.is_stopped = True
                self._loop.close()

    def take_inline(
        self, loop: asyncio.AbstractEventLoop, requests: Sequence[GenerationRequest]
    ) -> bool:
        """Evaluate ``requests`` on the thread of ``loop``, which has just handed them over.

        Whether that was done: only where they end with their first step, soon, and are all that
        there is to do, else the loop would do for how long nobody knows what others want. What is
        not done after the turn is the engine's thread's.
        """
        if not self._is_momentary(requests) or not self._lock.acquire(blocking=False):
            return False
        try:
            is_idle = self._loop.progress.is_idle and self._inbox.n_letters == 1
            if not is_idle or self.is_stopped:
                return False
            self._take_inline(loop)
            return True
        finally:
            self._lock.release()

    def _take_inline(self, loop: asyncio.AbstractEventLoop) -> None:
        outbox = self._loop.outbox
        outbox.running_loop = loop
        try:
            with np.errstate(over="ignore"):
                self._loop.take_turn()
            outbox.hand_over()
            if self.is_stopped or not self._loop.note_idle():
                self._inbox.put(("wake", None))  # the thread's own may have been read here
        except BaseException as fault:
            self._die()
            self._inbox.put(("wake", None))  # the thread tells everybody
            if not isinstance(fault, Exception):
                raise
        finally:
            outbox.running_loop = None

    def _is_momentary(self, requests: Sequence[GenerationRequest]) -> bool:
        if not self._may_be_inline or len(requests) != 1:
            return False
        request = requests[0]
        return (
            request.max_tokens <= 1
            and request.n == 1
            and request.constraint is None
            and not request.prompt_logprobs
            and self._throughput.most_seconds(len(request.prompt)) <= _INLINE_SECONDS
        )

    def _await_letter(self) -> None:
        """Wait for something to do; meanwhile event loops may take turns."""
        self._loop.outbox.hand_over()
        self._lock.release()
        self._inbox.await_letter()
        self._lock.acquire()

    def _die(self) -> None:
        """Note that the fault being handled has ended the loop."""
        _log.exception("the engine's thread died")
        self.is_stopped = self.has_died = True
