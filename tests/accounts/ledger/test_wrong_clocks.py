"""Counters of a machine whose clock was ahead, and was put right."""

from __future__ import annotations

import pytest

from shared.accounts.ledger.counters import Counters
from shared.accounts.ledger.reservation import OverBudgetError, RateLimitedError
from shared.accounts.limits import RateLimits
from tests.accounts.ledger.test_counters import FREE, GROUP, NOW, reservation, used

_YEAR = 366 * 86400


def test_limits_refill_after_a_clock_was_ahead() -> None:
    counters, limits = Counters(), RateLimits(requests_per_minute=1)
    counters.reserve(reservation("a"), limits, None, NOW + _YEAR)
    counters.settle(reservation("a"), GROUP, used(), NOW + _YEAR)
    with pytest.raises(RateLimitedError):
        counters.reserve(reservation("b"), limits, None, NOW)
    counters.reserve(reservation("b"), limits, None, NOW + 60)


def test_a_clock_that_is_a_little_behind_refills_nothing() -> None:
    counters, limits = Counters(), RateLimits(requests_per_minute=1)
    counters.reserve(reservation("a"), limits, None, NOW + 30)
    counters.settle(reservation("a"), GROUP, used(), NOW + 30)
    for now in (NOW, NOW + 30, NOW + 1, NOW + 31):
        with pytest.raises(RateLimitedError):
            counters.reserve(reservation("b"), limits, None, now)


def test_the_next_month_begins_after_a_clock_was_ahead() -> None:
    counters = Counters()
    counters.settle(reservation("a"), GROUP, used(cost=7), NOW + _YEAR)
    with pytest.raises(OverBudgetError):
        counters.reserve(reservation("b", cost=4), FREE, 10, NOW)
    counters.reserve(reservation("b", cost=4), FREE, 10, NOW + 31 * 86400)


def test_a_clock_that_is_behind_at_the_turn_begins_no_month() -> None:
    turn = 1_801_440_000.0  # 2027-02-01
    counters = Counters()
    counters.settle(reservation("a"), GROUP, used(cost=7), turn)
    for now in (turn - 1, turn + 1, turn - 3600, turn + 3600):
        with pytest.raises(OverBudgetError):
            counters.reserve(reservation("b", cost=4), FREE, 10, now)
