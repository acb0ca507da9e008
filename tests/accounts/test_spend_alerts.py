"""Spend alerts of projects and of the organization."""

from __future__ import annotations

import pytest

from shared.accounts.accounts import Accounts
from shared.accounts.audit_log import Actor, AuditQuery
from shared.accounts.spend_alerts import MOST_ALERTS, AlertAboveLimitError
from shared.accounts.types import AccountError, ArchivedProjectError, UnknownAccountError

ADMIN = Actor(key_id="key_admin")


@pytest.fixture(params=["project", "organization"])
def owner(request: pytest.FixtureRequest, accounts: Accounts) -> str | None:
    """Whose alerts are tested: a project's id, or None for the organization."""
    return accounts.projects.create(ADMIN, "shop").id if request.param == "project" else None


def test_alerts_are_found_changed_and_deleted(accounts: Accounts, owner: str | None) -> None:
    alerts = accounts.spend_alerts
    assert alerts.list(owner) == ()
    first = alerts.create(ADMIN, owner, 4000, ["a@example.com"], "[shop]")
    second = alerts.create(ADMIN, owner, 0)
    assert alerts.list(owner) == (first, second)
    assert alerts.get(owner, first.id) == first
    changed = alerts.update(ADMIN, owner, first.id, 50, recipients=(), subject_prefix=None)
    assert (changed.id, changed.threshold, changed.recipients) == (first.id, 50, ())
    assert alerts.list(owner) == (changed, second)
    alerts.delete(ADMIN, owner, first.id)
    assert alerts.list(owner) == (second,)
    for attempt in (
        lambda: alerts.get(owner, first.id),
        lambda: alerts.delete(ADMIN, owner, first.id),
        lambda: alerts.update(ADMIN, owner, first.id, 1),
    ):
        with pytest.raises(UnknownAccountError, match="no spend alert"):
            attempt()


def test_changes_are_in_the_audit_log_without_recipients(
    accounts: Accounts, owner: str | None
) -> None:
    alert = accounts.spend_alerts.create(ADMIN, owner, 4000, ["a@example.com"])
    accounts.spend_alerts.delete(ADMIN, owner, alert.id)
    last, before = accounts.audit_log.list(AuditQuery(limit=2)).events
    subject = "organization" if owner is None else "project"
    assert {last.type, before.type} == {f"{subject}.updated"}
    assert (last.project_id, last.actor) == (owner, ADMIN)
    assert before.details == {
        "id": owner or "organization",
        "changes_requested": {"spend_alert": {"id": alert.id, "threshold_amount": 4000}},
    }
    assert last.details["changes_requested"]["spend_alert"]["threshold_amount"] is None


def test_their_number_is_limited(accounts: Accounts, owner: str | None) -> None:
    for cents in range(MOST_ALERTS):
        accounts.spend_alerts.create(ADMIN, owner, cents)
    with pytest.raises(AccountError, match="Delete one first"):
        accounts.spend_alerts.create(ADMIN, owner, 1)


def test_an_alert_above_the_limit_is_refused(accounts: Accounts) -> None:
    project = accounts.projects.create(ADMIN, "shop").id
    accounts.projects.limit_spending(ADMIN, project, 5000)
    at_the_limit = accounts.spend_alerts.create(ADMIN, project, 5000)
    with pytest.raises(AlertAboveLimitError, match=r"is \$50\.00 a month.* at \$50\.01") as refused:
        accounts.spend_alerts.create(ADMIN, project, 5001)
    assert refused.value.param == "threshold_amount"
    with pytest.raises(AlertAboveLimitError):
        accounts.spend_alerts.update(ADMIN, project, at_the_limit.id, 5001)
    assert accounts.spend_alerts.list(project) == (at_the_limit,)
    accounts.projects.limit_spending(ADMIN, project, 1)  # always possible
    accounts.spend_alerts.delete(ADMIN, project, at_the_limit.id)


def test_an_archived_project_takes_no_alerts(accounts: Accounts) -> None:
    project = accounts.projects.create(ADMIN, "shop").id
    accounts.projects.archive(ADMIN, project)
    with pytest.raises(ArchivedProjectError):
        accounts.spend_alerts.create(ADMIN, project, 1)
    with pytest.raises(UnknownAccountError):
        accounts.spend_alerts.create(ADMIN, "proj_0", 1)


def test_other_changes_of_a_project_keep_its_alerts(accounts: Accounts) -> None:
    project = accounts.projects.create(ADMIN, "shop").id
    alert = accounts.spend_alerts.create(ADMIN, project, 4000, ["a@example.com"])
    accounts.projects.rename(ADMIN, project, "store")
    assert accounts.projects.get(project).spend_alerts == (alert,)
