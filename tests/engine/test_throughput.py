"""How many prompt tokens go into a batch before a deadline."""

from __future__ import annotations

import pytest

from shared.engine.throughput import Pace


def test_before_anything_is_measured_batches_are_small() -> None:
    assert Pace().tokens_within(3600) == 64


@pytest.mark.parametrize(
    ("seconds", "tokens"),
    [(10.0, 2000), (1.0, 200), (0.1, 20), (0.01, 16), (-1.0, 16), (float("inf"), 2**31)],
)
def test_a_batch_takes_no_longer_than_there_is_time(seconds: float, tokens: int) -> None:
    pace = Pace()

    pace.observe(512, 2.56)

    assert pace.tokens_within(seconds) == tokens


def test_the_last_batch_counts() -> None:
    pace = Pace()
    pace.observe(10, 10.0)

    pace.observe(10, 0.1)

    assert pace.tokens_within(1.0) == 100
