"""When a process looks at what a project has spent."""

from __future__ import annotations

from shared.accounts.alerts.spend_watch import SpendWatch
from shared.accounts.limits import CENT
from shared.accounts.types import SpendAlert

NOW = 1_800_000_000.0
"""In the middle of January 2027."""
FIRST = SpendAlert(id="alert_1", threshold=100)
SECOND = SpendAlert(id="alert_2", threshold=200)
BOTH = (SECOND, FIRST)


def _looked(spent: int) -> SpendWatch:
    """A watch that has just looked."""
    watch = SpendWatch()
    watch.add("proj_1", 1, NOW)
    assert watch.begin("proj_1", BOTH, NOW)
    watch.end("proj_1", spent, NOW)
    return watch


def test_it_looks_again_when_the_nearest_alert_could_be_reached() -> None:
    watch = _looked(spent=90 * CENT)
    watch.add("proj_1", 10 * CENT - 1, NOW + 1)
    assert not watch.begin("proj_1", BOTH, NOW + 1)
    watch.add("proj_1", 1, NOW + 1)
    assert watch.begin("proj_1", BOTH, NOW + 1)
    assert list(watch.reached("proj_1", BOTH, 100 * CENT, NOW + 1)) == [FIRST]
    assert list(watch.reached("proj_1", BOTH, 100 * CENT - 1, NOW + 1)) == []


def test_it_looks_again_after_10_seconds() -> None:
    watch = _looked(spent=0)
    assert not watch.begin("proj_1", BOTH, NOW + 9.9)
    assert watch.begin("proj_1", BOTH, NOW + 10)
    watch.end("proj_1", 0, NOW + 10)
    assert watch.begin("proj_1", BOTH, NOW + 9)  # the clock was set back


def test_one_looks_at_a_time_and_what_is_settled_meanwhile_counts() -> None:
    watch = _looked(spent=0)
    assert watch.begin("proj_1", BOTH, NOW + 20)
    watch.add("proj_1", 100 * CENT, NOW + 20)
    assert not watch.begin("proj_1", BOTH, NOW + 40)
    watch.end("proj_1", 0, NOW + 20)
    assert watch.begin("proj_1", BOTH, NOW + 20)


def test_an_alert_that_was_sent_is_no_reason_to_look() -> None:
    watch = _looked(spent=150 * CENT)
    watch.quiet("proj_1", FIRST, float("inf"), NOW)
    assert not watch.begin("proj_1", [FIRST], NOW + 60)
    watch.add("proj_1", 49 * CENT, NOW + 1)
    assert not watch.begin("proj_1", BOTH, NOW + 1)
    raised = SpendAlert(id=FIRST.id, threshold=150)
    assert watch.begin("proj_1", [raised], NOW + 1)


def test_one_that_failed_waits() -> None:
    watch = _looked(spent=150 * CENT)
    watch.quiet("proj_1", FIRST, NOW + 30, NOW)
    assert not watch.begin("proj_1", [FIRST], NOW + 29)
    assert watch.begin("proj_1", [FIRST], NOW + 30)


def test_a_look_that_failed_is_repeated_later() -> None:
    watch = _looked(spent=0)
    watch.add("proj_1", 100 * CENT, NOW + 1)
    assert watch.begin("proj_1", BOTH, NOW + 1)
    watch.end("proj_1", None, NOW + 1)
    assert not watch.begin("proj_1", BOTH, NOW + 2)
    assert watch.begin("proj_1", BOTH, NOW + 11)


def test_a_month_begins_anew() -> None:
    watch = _looked(spent=150 * CENT)
    watch.quiet("proj_1", FIRST, float("inf"), NOW)
    assert watch.begin("proj_1", [FIRST], NOW + 31 * 86400)


def test_projects_are_forgotten_and_looked_at_again() -> None:
    watch = _looked(spent=0)
    for n in range(1000):
        watch.add(f"proj_{n + 2}", 1, NOW)
    assert watch.begin("proj_1", BOTH, NOW + 1)
