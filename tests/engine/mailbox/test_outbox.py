"""The outbox: when outputs of the engine's steps are handed over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from shared.engine.mailbox import outbox
from shared.engine.mailbox.generation import Generation
from shared.engine.mailbox.outbox import Outbox
from shared.engine.types import Output
from tests.engine.conftest import request


class Clock:
    def __init__(self) -> None:
        self.now = 10.0

    def __call__(self) -> float:
        return self.now


class Loop:
    """An event loop that runs what it is given at once, and counts how often it is woken."""

    def __init__(self) -> None:
        self.n_wakes = 0
        self.is_closed = False

    def call_soon_threadsafe(self, callback: Callable[..., None], *args: object) -> None:
        if self.is_closed:
            raise RuntimeError("Event loop is closed")
        self.n_wakes += 1
        callback(*args)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(outbox, "perf_counter", clock)
    return clock


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def generation(loop: Loop) -> Generation:
    return Generation([request([1], 9)], loop, lambda _: None)  # type: ignore[arg-type]


def texts(generation: Generation) -> list[str]:
    return [output.text for output in generation._outputs]


def test_outputs_of_long_steps_are_handed_over_one_by_one(
    clock: Clock, loop: Loop, generation: Generation
) -> None:
    box = Outbox(lambda _: None)
    for text in "abc":
        clock.now += 0.02
        box.add([(generation, Output(0, text))])
        box.hand_over_due()
        assert texts(generation)[-1] == text
    assert loop.n_wakes == 3


def test_outputs_of_short_steps_are_handed_over_together(
    clock: Clock, loop: Loop, generation: Generation
) -> None:
    box = Outbox(lambda _: None)
    for text in "abcdefgh":
        box.add([(generation, Output(0, text))])
        box.hand_over_due()
        clock.now += 0.00014
    assert texts(generation) == list("abcdefg")
    assert loop.n_wakes == 3
    box.hand_over()  # as before the thread waits
    assert texts(generation) == list("abcdefgh")


def test_nothing_waits_for_a_step_that_may_be_long(clock: Clock, generation: Generation) -> None:
    box = Outbox(lambda _: None)
    box.add([(generation, Output(0, "a"))])
    box.hand_over()
    box.add([(generation, Output(0, "b"))])
    box.hand_over_due()
    assert texts(generation) == ["a"]
    box.is_urgent = True
    box.hand_over_due()
    assert texts(generation) == ["a", "b"]


def test_nobody_is_woken_for_nothing(clock: Clock, loop: Loop) -> None:
    box = Outbox(lambda _: None)
    box.hand_over()
    box.hand_over_due()
    assert not loop.n_wakes


def test_what_a_closed_loop_asked_for_is_abandoned(
    clock: Clock, loop: Loop, generation: Generation
) -> None:
    abandoned: list[Generation] = []
    box = Outbox(abandoned.append)
    loop.is_closed = True
    box.add([(generation, Output(0, "a"))])
    box.hand_over()
    assert abandoned == [generation]


def test_one_call_gives_each_loop_what_is_its_own() -> None:
    async def main() -> list[str]:
        here = Generation([request([1], 9)], asyncio.get_running_loop(), lambda _: None)
        elsewhere = Loop()
        there = Generation([request([1], 9)], elsewhere, lambda _: None)  # type: ignore[arg-type]
        box = Outbox(lambda _: None)
        box.add([(here, Output(0, "a")), (there, Output(0, "b")), (here, Output(0, "c"))])
        box.hand_over()
        assert texts(there) == ["b"]
        assert elsewhere.n_wakes == 1
        return [output.text for output in await here.receive()]

    assert asyncio.run(main()) == ["a", "c"]
