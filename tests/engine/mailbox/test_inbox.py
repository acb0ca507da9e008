"""Inbox of the engine's thread: order, and when the thread that waits for it is woken."""

from __future__ import annotations

import asyncio
import threading

import pytest

from shared.engine.mailbox.generation import Generation
from shared.engine.mailbox.inbox import Inbox, Letter
from shared.engine.mailbox.queue_limits import Load
from shared.engine.types import EngineStoppedError, GenerationRequest, SamplingParams


def new_inbox() -> Inbox:
    return Inbox(Load(n_parallel=4, max_queue=16))


def new_generation() -> Generation:
    asked = GenerationRequest(prompt=[1], max_tokens=1, sampling=SamplingParams(seed=0))
    return Generation([asked], asyncio.get_running_loop(), lambda _: None)


class Reader:
    """A thread that reads ``n`` letters."""

    def __init__(self, inbox: Inbox, n: int) -> None:
        self.letters: list[Letter] = []
        self._inbox, self._n = inbox, n
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        for _ in range(self._n):
            self._inbox.await_letter()
            self.letters.append(self._inbox.read())

    async def end(self) -> list[str]:
        """What kinds of letters it has read, once it has read all."""
        await asyncio.to_thread(self.thread.join, 30)
        assert not self.thread.is_alive()
        return [kind for kind, _ in self.letters]


@pytest.mark.anyio
async def test_a_waiting_reader_is_woken_by_what_is_submitted() -> None:
    inbox = new_inbox()
    reader = Reader(inbox, 3)
    for _ in range(3):
        inbox.submit(new_generation())
        inbox.wake_soon(asyncio.get_running_loop())
        await asyncio.sleep(0)
    assert await reader.end() == ["submit"] * 3


@pytest.mark.anyio
async def test_a_cancellation_overtakes_no_submission() -> None:
    inbox = new_inbox()
    reader = Reader(inbox, 2)
    generation = new_generation()
    inbox.submit(generation)
    inbox.put(("cancel", generation))
    assert await reader.end() == ["submit", "cancel"]


@pytest.mark.anyio
async def test_what_nobody_has_read_is_given_back_at_the_end() -> None:
    inbox = new_inbox()
    first, second = new_generation(), new_generation()
    inbox.submit(first)
    inbox.submit(second)
    inbox.put(("cancel", first))
    assert inbox.close() == [first, second]
    with pytest.raises(EngineStoppedError):
        inbox.submit(new_generation())


@pytest.mark.anyio
async def test_wake_ups_from_several_threads() -> None:
    inbox = new_inbox()
    n, n_threads = 200, 4
    reader = Reader(inbox, n * n_threads)

    def put() -> None:
        for _ in range(n):
            inbox.put(("wake", None))

    await asyncio.gather(*(asyncio.to_thread(put) for _ in range(n_threads)))
    assert await reader.end() == ["wake"] * (n * n_threads)
