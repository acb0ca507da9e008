"""How many prompt tokens go into a batch before a deadline."""

from __future__ import annotations

import math

import pytest

from shared.engine.batching.throughput import ThroughputEstimate


def test_before_anything_is_measured_batches_are_small() -> None:
    assert ThroughputEstimate().tokens_within(3600) == 64


@pytest.mark.parametrize(
    ("seconds", "tokens"),
    [(10.0, 2000), (1.0, 200), (0.1, 20), (0.01, 16), (-1.0, 16), (float("inf"), 2**31)],
)
def test_a_batch_takes_no_longer_than_there_is_time(seconds: float, tokens: int) -> None:
    estimate = ThroughputEstimate()

    estimate.observe(512, 2.56)

    assert estimate.tokens_within(seconds) == tokens


def test_the_last_batch_counts() -> None:
    estimate = ThroughputEstimate()
    estimate.observe(10, 10.0)

    estimate.observe(10, 0.1)

    assert estimate.tokens_within(1.0) == 100


class TestMostSeconds:
    """What a batch takes besides its tokens counts: that is known from batches of its size only."""

    def test_it_is_that_of_a_batch_of_about_as_many(self) -> None:
        estimate = ThroughputEstimate()
        estimate.observe(10, 0.005)
        estimate.observe(1000, 0.050)
        assert estimate.most_seconds(10) == 0.005
        assert estimate.most_seconds(15) == pytest.approx(0.0075)
        assert estimate.most_seconds(8) == 0.005
        assert estimate.most_seconds(700) == 0.050

    def test_neighbours_tell_it_where_there_was_none(self) -> None:
        estimate = ThroughputEstimate()
        estimate.observe(16, 0.004)
        assert estimate.most_seconds(15) == 0.004
        assert estimate.most_seconds(33) == pytest.approx(0.004 * 33 / 16)

    def test_a_batch_that_is_much_larger_or_smaller_tells_nothing(self) -> None:
        estimate = ThroughputEstimate()
        estimate.observe(512, 0.001)
        estimate.observe(1, 0.0001)
        assert estimate.most_seconds(20) == math.inf
        assert ThroughputEstimate().most_seconds(1) == math.inf

    def test_the_last_one_counts(self) -> None:
        estimate = ThroughputEstimate()
        estimate.observe(10, 0.5)
        estimate.observe(11, 0.001)
        assert estimate.most_seconds(11) == 0.001
