"""Token bucket."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.accounts.ledger.token_bucket import UNIT, TokenBucket

SECOND = 10**6


def test_it_refills_continuously() -> None:
    bucket = TokenBucket(period=60, limit=600)
    bucket.refill(1000 * SECOND)
    bucket.reserve(600 * UNIT)
    assert bucket.room == 0
    bucket.settle(600 * UNIT, 600 * UNIT)
    assert (bucket.remaining, bucket.seconds_until(10 * UNIT)) == (0, 1)
    bucket.refill(1001 * SECOND)
    assert (bucket.remaining, bucket.room) == (10, 10 * UNIT)
    bucket.refill(1060 * SECOND)
    assert (bucket.remaining, bucket.seconds_until_full) == (600, 0)


def test_what_is_held_does_not_refill() -> None:
    bucket = TokenBucket(period=60, limit=10)
    bucket.refill(0)
    bucket.reserve(10 * UNIT)
    bucket.refill(600 * SECOND)
    assert bucket.remaining == 0
    bucket.settle(10 * UNIT, 1 * UNIT)
    assert bucket.remaining == 9


def test_a_clock_that_is_behind_refills_nothing() -> None:
    bucket = TokenBucket(period=60, limit=60)
    bucket.refill(100 * SECOND)
    bucket.settle(0, 30 * UNIT)
    bucket.refill(50 * SECOND)
    bucket.refill(101 * SECOND)
    assert bucket.remaining == 31


@given(st.lists(st.tuples(st.integers(0, 20 * SECOND), st.integers(1, 50)), max_size=60))
def test_no_period_admits_more_than_twice_the_limit(steps: list[tuple[int, int]]) -> None:
    """The bucket, and what refills meanwhile."""
    bucket = TokenBucket(period=10, limit=50)
    now, admitted = 1000 * SECOND, list[tuple[int, int]]()
    for pause, n in steps:
        now += pause
        bucket.refill(now)
        if bucket.room >= n * UNIT:
            bucket.reserve(n * UNIT)
            bucket.settle(n * UNIT, n * UNIT)
            admitted.append((now, n))
        recent = sum(n for at, n in admitted if at > now - 10 * SECOND)
        assert recent <= 100
        assert bucket.remaining >= 0
