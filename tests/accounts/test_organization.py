"""The organization's limit, and what all projects together have spent."""

from __future__ import annotations

import pytest

from shared.accounts.accounts import Accounts
from shared.accounts.audit_log import Actor, AuditQuery
from shared.accounts.ledger import project_counters
from shared.accounts.ledger.ledger import Ledger
from shared.accounts.ledger.reservation import Reservation
from shared.accounts.ledger.usage import Group, Usage
from shared.accounts.limits import CENT
from shared.accounts.organization import OrganizationSpending
from shared.accounts.spend_alerts import AlertAboveLimitError
from shared.accounts.types import Organization
from tests.accounts.clock import Clock
from tests.accounts.conftest import OpenRecords

ADMIN = Actor(key_id="key_admin")
GROUP = Group(key_id="key_1", model="small", tier="default")


def _spend(ledger: Ledger, project_id: str, cents: int) -> None:
    """Settle a request that costs so much."""
    asked = Reservation(id=f"r{cents}", model="small", tokens=1, cost=0, expires_at=2**40)
    used = Usage(requests=1, completion=1, completion_cost=cents * CENT)
    ledger.settle(project_id, asked, GROUP, used)


def test_a_limit_is_set_and_deleted(accounts: Accounts) -> None:
    assert accounts.organization.get() == Organization()
    accounts.organization.limit_spending(ADMIN, 5000)
    alert = accounts.spend_alerts.create(ADMIN, None, 5000)
    assert accounts.organization.get() == Organization(spend_limit=5000, spend_alerts=(alert,))
    with pytest.raises(AlertAboveLimitError, match="the organization"):
        accounts.spend_alerts.create(ADMIN, None, 5001)
    accounts.organization.limit_spending(ADMIN, None)
    assert accounts.organization.get().spend_limit is None
    types = [event.type for event in accounts.audit_log.list(AuditQuery()).events]
    assert types == ["organization.updated"] * 3


def test_whoever_looks_a_key_up_has_what_is_set(accounts: Accounts) -> None:
    project = accounts.projects.create(ADMIN, "shop")
    account = accounts.service_accounts.create(ADMIN, project.id, "web")
    key, _ = accounts.keys.issue(ADMIN, "web", account)
    holder = accounts.keys.holder(key.hash)
    assert holder is not None
    assert holder.organization == Organization()
    accounts.organization.limit_spending(ADMIN, 5000)
    holder = accounts.keys.holder(key.hash)
    assert holder is not None
    assert holder.organization == Organization(spend_limit=5000)


def test_all_projects_are_summed_up_archived_ones_too(accounts: Accounts) -> None:
    projects = [accounts.projects.create(ADMIN, str(n)).id for n in range(103)]
    for n, project_id in enumerate(projects[::2]):
        _spend(accounts.ledger, project_id, n)
    accounts.projects.archive(ADMIN, projects[-1])
    assert accounts.organization_spending.sum_up() == sum(range(52)) * CENT


def test_shards_are_summed_up(
    accounts: Accounts, clock: Clock, open_records: OpenRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project_counters, "_MANY_COLLISIONS", 0)
    monkeypatch.setattr(project_counters, "_SPLIT_SECONDS", 0)
    project_id = accounts.projects.create(ADMIN, "shop").id
    others = [open_records() for _ in range(3)]
    for n in range(1, 5):
        for records in others:
            _spend(Ledger(records, clock), project_id, n)
    for records in others:
        records.close()
    assert accounts.ledger.counters(project_id).spent == 30 * CENT
    assert accounts.organization_spending.sum_up() == 30 * CENT


def test_one_process_makes_the_next_sum(
    accounts: Accounts, clock: Clock, open_records: OpenRecords
) -> None:
    project_id = accounts.projects.create(ADMIN, "shop").id
    other = OrganizationSpending(open_records(), accounts.ledger, clock)
    spending = accounts.organization_spending
    assert (spending.known().spent, spending.known().claim) == (0, None)
    _spend(accounts.ledger, project_id, 5)
    clock.advance(59)
    assert (other.known().spent, other.known().claim) == (0, None)
    clock.advance(2)
    first = spending.known()
    assert first.spent == 0
    assert first.claim is not None
    assert other.known().claim is None
    assert spending.renew(first.claim) == 5 * CENT
    assert (other.known().spent, other.known().claim) == (5 * CENT, None)


def test_a_sum_that_nobody_finished_is_made_by_the_next(accounts: Accounts, clock: Clock) -> None:
    spending = accounts.organization_spending
    spending.sum_up()
    clock.advance(61)
    lost = spending.known().claim
    assert lost is not None
    clock.advance(59)
    assert spending.known().claim is None
    clock.advance(2)
    claim = spending.known().claim
    assert claim is not None
    spending.renew(claim)
    spending.renew(lost)  # late, and without an effect
    assert spending.known().claim is None


def test_a_month_begins_with_nothing(accounts: Accounts, clock: Clock) -> None:
    project_id = accounts.projects.create(ADMIN, "shop").id
    spending = accounts.organization_spending
    _spend(accounts.ledger, project_id, 5)
    assert spending.sum_up() == 5 * CENT
    clock.advance(31 * 86400)
    known = spending.known()
    assert known.spent == 0
    assert known.claim is not None
    assert spending.renew(known.claim) == 0
    _spend(accounts.ledger, project_id, 2)
    assert spending.sum_up() == 2 * CENT


def test_a_sum_of_a_time_to_come_is_made_anew(accounts: Accounts, clock: Clock) -> None:
    spending = accounts.organization_spending
    clock.advance(3600)
    spending.sum_up()
    clock.advance(-3600)
    assert spending.known().claim is not None
