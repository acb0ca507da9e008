"""Token bucket."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.accounts.ledger.token_bucket import TokenBucket

SECOND = 10**6


def test_it_refills_continuously() -> None:
    bucket = TokenBucket(period=60, limit=600)
    bucket.refill(1000 * SECOND)
    bucket.reserve(600)
    assert not bucket.has_room(1)
    bucket.settle(600, 600)
    assert (bucket.remaining, bucket.seconds_until_room(10)) == (0, 1)
    bucket.refill(1001 * SECOND)
    assert (bucket.remaining, bucket.has_room(10), bucket.has_room(11)) == (10, True, False)
    bucket.refill(1060 * SECOND)
    assert (bucket.remaining, bucket.seconds_until_full) == (600, 0)


def test_what_is_held_does_not_refill() -> None:
    bucket = TokenBucket(period=60, limit=10)
    bucket.refill(0)
    bucket.reserve(10)
    bucket.refill(600 * SECOND)
    assert bucket.remaining == 0
    bucket.settle(10, 1)
    assert bucket.remaining == 9


def test_a_clock_that_is_behind_refills_nothing() -> None:
    bucket = TokenBucket(period=60, limit=60)
    bucket.refill(100 * SECOND)
    bucket.settle(0, 30)
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
        if bucket.has_room(n):
            bucket.reserve(n)
            bucket.settle(n, n)
            admitted.append((now, n))
        recent = sum(n for at, n in admitted if at > now - 10 * SECOND)
        assert recent <= 100
        assert bucket.remaining >= 0
