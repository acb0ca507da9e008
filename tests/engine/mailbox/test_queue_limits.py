"""Bounds on live sequences, and when to come again."""

from __future__ import annotations

import pytest

from shared.engine.mailbox.queue_limits import Load
from shared.engine.types import QueueFullError, TooManySequencesError


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("shared.engine.mailbox.queue_limits.time", clock)
    return clock


def retry_after(load: Load, n: int = 1) -> int:
    with pytest.raises(QueueFullError) as caught:
        load.take("a", n)
    return caught.value.retry_after


def test_sequences_are_counted_not_requests() -> None:
    load = Load(n_parallel=1, max_queue=4)
    load.take("a", 3)
    with pytest.raises(QueueFullError, match="3 completions"):
        load.take("a", 3)
    load.take("a", 2)
    with pytest.raises(QueueFullError):
        load.take("a", 1)
    load.give_back("a", 1)
    load.take("a", 1)


def test_to_ask_for_room_takes_none() -> None:
    load = Load(n_parallel=1, max_queue=4)
    for _ in range(3):
        load.check("a", 3)
    load.take("a", 3)
    with pytest.raises(QueueFullError, match="3 completions"):
        load.check("a", 3)
    load.check("a", 2)
    load.check("b", 3)
    with pytest.raises(TooManySequencesError):
        load.check("b", 5)


def test_nobody_fills_the_queue_of_others() -> None:
    load = Load(n_parallel=1, max_queue=2)
    load.take("a", 2)
    load.take("a", 1)
    load.take("b", 2)


@pytest.mark.parametrize(("n_parallel", "max_queue", "most"), [(1, 4, 4), (16, 2, 16)])
def test_what_the_queue_never_holds_is_another_error(
    n_parallel: int, max_queue: int, most: int
) -> None:
    load = Load(n_parallel, max_queue)
    with pytest.raises(TooManySequencesError) as caught:
        load.take("a", most + 1)
    assert (caught.value.n_sequences, caught.value.limit) == (most + 1, most)
    load.take("a", most)


def test_the_time_to_come_again_follows_the_pace_of_sequences_that_end(clock: Clock) -> None:
    load = Load(n_parallel=1, max_queue=20)
    load.take("a", 20)
    for _ in range(9):  # one in two seconds
        clock.now += 2
        load.give_back("a", 1)
        load.take("a", 1)
    clock.now += 2

    one, ten = retry_after(load, 2), retry_after(load, 11)

    assert 2 <= one <= 3
    assert 20 <= ten <= 30


def test_the_time_is_bounded_and_jittered(clock: Clock) -> None:
    load = Load(n_parallel=1, max_queue=2)
    load.take("a", 2)
    load.take("a", 1)
    assert {retry_after(load) for _ in range(100)} == {1, 2}

    clock.now += 3600  # nothing has ended

    times = {retry_after(load) for _ in range(200)}
    assert min(times) >= 40
    assert max(times) <= 60
    assert len(times) > 5


def test_idle_times_do_not_count(clock: Clock) -> None:
    load = Load(n_parallel=1, max_queue=1)
    load.take("a", 1)
    load.give_back("a", 1)
    clock.now += 3600
    load.take("a", 1)
    load.take("a", 1)

    assert retry_after(load) <= 2
