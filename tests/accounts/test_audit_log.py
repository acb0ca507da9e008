"""Audit log: every change, who made it, and how it is searched."""

from __future__ import annotations

from shared.accounts.accounts import Accounts
from shared.accounts.audit_log import Actor, AuditQuery
from shared.accounts.types import new_account_id
from tests.accounts.clock import Clock
from tests.accounts.test_projects import ADMIN


def _types(accounts: Accounts, **filters: object) -> list[str]:
    query = AuditQuery(**{"limit": 100, **filters})  # type: ignore[arg-type]
    return [event.type for event in accounts.audit_log.list(query).events]


def test_every_change_is_in_it(accounts: Accounts) -> None:
    project = accounts.projects.create(ADMIN, "shop")
    accounts.projects.rename(ADMIN, project.id, "store")
    account = accounts.service_accounts.create(ADMIN, project.id, "web")
    accounts.service_accounts.update(ADMIN, project.id, account.id, role="owner")
    key, _ = accounts.keys.issue(ADMIN, "first", account)
    accounts.keys.expire(ADMIN, project.id, key.id, 60)
    accounts.keys.revoke(ADMIN, project.id, key.id)
    accounts.service_accounts.delete(ADMIN, project.id, account.id)
    accounts.projects.permit_models(ADMIN, project.id, None)
    accounts.projects.archive(ADMIN, project.id)
    assert _types(accounts) == [
        "project.archived",
        "project.updated",
        "service_account.deleted",
        "api_key.deleted",
        "api_key.updated",
        "api_key.created",
        "service_account.updated",
        "service_account.created",
        "project.updated",
        "project.created",
    ]
    newest = accounts.audit_log.list(AuditQuery(limit=1)).events[0]
    assert (newest.actor, newest.details) == (ADMIN, {"id": project.id})
    assert (newest.project_id, newest.project_name) == (project.id, "store")


def test_it_is_filtered(accounts: Accounts, clock: Clock) -> None:
    shop = accounts.projects.create(ADMIN, "shop")
    clock.advance(100)
    middle = int(clock.now)
    other = accounts.projects.create(Actor(key_id="key_2"), "other")
    clock.advance(100)
    accounts.projects.archive(Actor(), other.id)
    assert _types(accounts, types=["project.archived"]) == ["project.archived"]
    assert _types(accounts, project_ids=[shop.id]) == ["project.created"]
    assert _types(accounts, actor_ids=["key_2"]) == ["project.created"]
    assert _types(accounts, resource_ids=[other.id]) == ["project.archived", "project.created"]
    assert _types(accounts, since=middle) == ["project.archived", "project.created"]
    assert _types(accounts, until=middle) == ["project.created"]
    assert _types(accounts, until=middle, since=middle) == []


def test_pages_go_on_where_they_ended(accounts: Accounts) -> None:
    made = [accounts.projects.create(ADMIN, str(n)).id for n in range(5)]
    accounts.projects.archive(ADMIN, made[4])
    seen: list[object] = []
    query = AuditQuery(limit=2, types=["project.created"])
    while True:
        page = accounts.audit_log.list(query)
        seen += [event.details["id"] for event in page.events]
        if not page.has_more:
            break
        query = AuditQuery(limit=2, types=["project.created"], after=page.last_id)
    assert seen == made[::-1]


def test_ids_of_one_millisecond_are_in_order() -> None:
    now = 1_790_000_000.0
    ids = [new_account_id("x", lambda: now) for _ in range(1000)]
    assert sorted(set(ids)) == ids
    assert {len(each) for each in ids} == {len("x_") + 28}
    assert new_account_id("x", lambda: now - 1) < ids[0]
