"""Who delivers an alert, once a month, on both stores."""

from __future__ import annotations

from math import inf

from shared.accounts.accounts import Accounts
from shared.accounts.alerts.deliveries import MOST_ATTEMPTS, Delivery
from shared.accounts.limits import CENT
from shared.accounts.types import Project, SpendAlert
from tests.accounts.clock import Clock

ALERT = SpendAlert(id="alert_1", threshold=100)
PROJECT = Project(id="proj_1", name="shop", created_at=0)


def _claimed(accounts: Accounts, alert: SpendAlert = ALERT, spent: int = 101 * CENT) -> Delivery:
    claimed = accounts.alert_deliveries.claim(alert, PROJECT, spent)
    assert isinstance(claimed, Delivery)
    return claimed


def test_one_process_delivers_and_no_other_until_the_claim_ends(
    accounts: Accounts, clock: Clock
) -> None:
    first = _claimed(accounts)
    other = accounts.alert_deliveries.claim(ALERT, PROJECT, 0)
    assert other == first.retry_at
    assert 29 < first.retry_at - clock.now <= 30
    clock.advance(30)
    again = _claimed(accounts, spent=500 * CENT)
    assert (again.event, again.attempt) == (first.event, 2)
    assert again.event.body == first.event.body
    assert 59 < again.retry_at - clock.now <= 60


def test_what_was_delivered_is_over_for_the_month(accounts: Accounts, clock: Clock) -> None:
    first = _claimed(accounts)
    accounts.alert_deliveries.note(first, ["webhook"], is_over=True)
    clock.advance(3600)
    assert accounts.alert_deliveries.claim(ALERT, PROJECT, 0) == inf
    raised = _claimed(accounts, SpendAlert(id=ALERT.id, threshold=101))
    assert raised.event.id != first.event.id
    assert isinstance(accounts.alert_deliveries.claim(ALERT, None, 0), Delivery)
    clock.advance(31 * 86400)
    assert _claimed(accounts).event.month > first.event.month


def test_channels_that_have_it_are_left_out(accounts: Accounts, clock: Clock) -> None:
    accounts.alert_deliveries.note(_claimed(accounts), ["sns"], is_over=False)
    clock.advance(30)
    assert _claimed(accounts).delivered == ["sns"]


def test_of_two_that_claim_at_once_one_delivers(accounts: Accounts, clock: Clock) -> None:
    both = [accounts.alert_deliveries.claim(ALERT, PROJECT, 0) for _ in range(2)]
    assert [isinstance(each, Delivery) for each in both] == [True, False]


def test_attempts_end(accounts: Accounts, clock: Clock) -> None:
    began = clock.now
    for attempt in range(1, MOST_ATTEMPTS + 1):
        claimed = _claimed(accounts)
        assert (claimed.attempt, claimed.is_last) == (attempt, attempt == MOST_ATTEMPTS)
        clock.now = claimed.retry_at if attempt < MOST_ATTEMPTS else clock.now
    assert 14 < (clock.now - began) / 3600 < 16


def test_a_claim_of_a_time_to_come_holds_nobody_up(accounts: Accounts, clock: Clock) -> None:
    clock.advance(86400)
    _claimed(accounts)
    clock.advance(-86400)
    assert _claimed(accounts).attempt == 2
