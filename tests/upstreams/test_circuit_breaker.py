"""Circuit breakers open after failures in a row, and close after a trial that succeeds."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from shared.upstreams.circuit_breaker import CircuitBreaker


@dataclass
class Clock:
    """A clock that stands still until a test lets time pass."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    """A new clock."""
    return Clock()


def attempt(breaker: CircuitBreaker, has_succeeded: bool | None) -> None:
    assert breaker.open_seconds == 0
    with breaker.attempt() as made:
        made.has_succeeded = has_succeeded


def opened(clock: Clock) -> CircuitBreaker:
    breaker = CircuitBreaker(5, clock)
    for _ in range(5):
        attempt(breaker, has_succeeded=False)
    return breaker


def test_five_failures_in_a_row_open_it(clock: Clock) -> None:
    breaker = CircuitBreaker(5, clock)
    for _ in range(4):
        attempt(breaker, has_succeeded=False)
    attempt(breaker, has_succeeded=True)
    for _ in range(5):
        attempt(breaker, has_succeeded=False)
    assert breaker.open_seconds == 5


def test_what_says_nothing_of_the_upstream_does_not_count(clock: Clock) -> None:
    breaker = CircuitBreaker(5, clock)
    for _ in range(20):
        attempt(breaker, has_succeeded=None)
    assert breaker.open_seconds == 0


def test_one_trial_at_a_time_decides(clock: Clock) -> None:
    breaker = opened(clock)
    clock.pass_seconds(5)
    assert breaker.open_seconds == 0
    with breaker.attempt() as trial:
        assert breaker.open_seconds > 0
        trial.has_succeeded = True
    for _ in range(4):
        attempt(breaker, has_succeeded=False)
    assert breaker.open_seconds == 0


def test_a_trial_whose_answer_has_begun_lets_others_ask(clock: Clock) -> None:
    breaker = opened(clock)
    clock.pass_seconds(5)
    with breaker.attempt() as trial:
        breaker.note_first_byte(trial)
        assert breaker.open_seconds == 0
        # One that fails meanwhile opens it again, for twice the time.
        attempt(breaker, has_succeeded=False)
        assert breaker.open_seconds == 10
        trial.has_succeeded = False
    assert breaker.open_seconds == 10
    clock.pass_seconds(10)
    with breaker.attempt() as trial:
        breaker.note_first_byte(trial)
        trial.has_succeeded = True
    for _ in range(4):
        attempt(breaker, has_succeeded=False)
    assert breaker.open_seconds == 0


def test_a_trial_that_its_caller_ends_leaves_room_for_another(clock: Clock) -> None:
    breaker = opened(clock)
    clock.pass_seconds(5)
    attempt(breaker, has_succeeded=None)
    assert breaker.open_seconds == 0


def test_trials_that_fail_are_made_ever_more_rarely(clock: Clock) -> None:
    breaker = opened(clock)
    seconds = []
    for _ in range(7):
        seconds.append(breaker.open_seconds)
        clock.pass_seconds(breaker.open_seconds)
        attempt(breaker, has_succeeded=False)
    assert seconds == [5, 10, 20, 40, 80, 120, 120]


def test_failures_of_attempts_from_before_do_not_prolong_it(clock: Clock) -> None:
    breaker = CircuitBreaker(5, clock)
    with breaker.attempt() as late:
        for _ in range(5):
            attempt(breaker, has_succeeded=False)
        clock.pass_seconds(3)
        late.has_succeeded = False
    assert breaker.open_seconds == 2


def test_it_can_be_switched_off(clock: Clock) -> None:
    breaker = CircuitBreaker(0, clock)
    for _ in range(20):
        attempt(breaker, has_succeeded=False)
