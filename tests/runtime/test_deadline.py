"""Deadlines of requests on platforms with a time limit."""

from __future__ import annotations

import time

import pytest

from shared.runtime.deadline import Deadline, TimeLimit


def deadline(left: float | None, margin: float) -> Deadline | None:
    """Of a request to which the platform leaves ``left`` seconds."""
    return TimeLimit(lambda _: left, margin).deadline({"type": "http"})


def test_the_margin_is_kept_for_storing_and_for_the_response() -> None:
    before = time.monotonic()
    found = deadline(30.0, 2.0)
    after = time.monotonic()
    assert found is not None
    assert before + 28.0 <= found.end_of_generation <= after + 28.0
    assert found.end_of_storing - found.end_of_generation == pytest.approx(1.7)


def test_of_a_small_margin_storing_gets_half() -> None:
    found = deadline(30.0, 0.2)
    assert found is not None
    assert found.end_of_storing - found.end_of_generation == pytest.approx(0.1)


def test_less_time_than_the_margin_is_a_deadline_in_the_past() -> None:
    found = deadline(1.5, 2.0)
    assert found is not None
    assert found.end_of_generation < time.monotonic()


def test_without_a_limit_there_is_no_deadline() -> None:
    assert deadline(None, 2.0) is None
