"""How many prompt tokens go into a batch before a deadline."""

from __future__ import annotations

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
