"""Projects and service accounts."""

from __future__ import annotations

import pytest

from shared.accounts.accounts import Accounts
from shared.accounts.audit_log import Actor
from shared.accounts.types import (
    AccountError,
    ArchivedProjectError,
    ModelPermissions,
    UnknownAccountError,
)

ADMIN = Actor(key_id="key_admin")


def test_a_project_is_found_renamed_and_archived(accounts: Accounts) -> None:
    created = accounts.projects.create(ADMIN, "shop")
    assert accounts.projects.get(created.id) == created
    assert accounts.projects.rename(ADMIN, created.id, "store").name == "store"
    archived = accounts.projects.archive(ADMIN, created.id)
    assert archived.archived_at is not None
    assert accounts.projects.get(created.id) == archived


def test_lists_have_the_oldest_first_and_leave_archived_ones_out(accounts: Accounts) -> None:
    made = [accounts.projects.create(ADMIN, str(n)).id for n in range(7)]
    accounts.projects.archive(ADMIN, made[2])
    active = [each for each in made if each != made[2]]
    first, more = accounts.projects.list(limit=4)
    assert ([p.id for p in first], more) == (active[:4], True)
    rest, more = accounts.projects.list(limit=4, after=first[-1].id)
    assert ([p.id for p in rest], more) == (active[4:], False)
    every, _ = accounts.projects.list(limit=10, include_archived=True)
    assert [p.id for p in every] == made


def test_more_than_a_page_of_archived_projects_is_passed_over(accounts: Accounts) -> None:
    for n in range(101):
        accounts.projects.archive(ADMIN, accounts.projects.create(ADMIN, str(n)).id)
    last = accounts.projects.create(ADMIN, "last")
    assert accounts.projects.list(limit=1) == ([last], False)


def test_an_archived_project_takes_nothing_new(accounts: Accounts) -> None:
    project = accounts.projects.create(ADMIN, "shop")
    account = accounts.service_accounts.create(ADMIN, project.id, "web")
    accounts.projects.archive(ADMIN, project.id)
    for attempt in (
        lambda: accounts.projects.rename(ADMIN, project.id, "x"),
        lambda: accounts.projects.archive(ADMIN, project.id),
        lambda: accounts.service_accounts.create(ADMIN, project.id, "x"),
        lambda: accounts.keys.issue(ADMIN, "x", account),
    ):
        with pytest.raises(ArchivedProjectError):
            attempt()


def test_what_is_not_there_is_named(accounts: Accounts) -> None:
    project = accounts.projects.create(ADMIN, "shop")
    for attempt, text in (
        (lambda: accounts.projects.get("proj_0"), "There is no project 'proj_0'."),
        (lambda: accounts.projects.rename(ADMIN, "proj_0", "x"), "no project 'proj_0'"),
        (lambda: accounts.service_accounts.list("proj_0", limit=1), "no project 'proj_0'"),
        (lambda: accounts.service_accounts.get(project.id, "s"), "no service account 's'"),
        (lambda: accounts.service_accounts.delete(ADMIN, project.id, "s"), "account 's'"),
        (lambda: accounts.keys.get(project.id, "k"), "There is no key 'k'."),
        (lambda: accounts.keys.revoke(ADMIN, None, "k"), "There is no key 'k'."),
    ):
        with pytest.raises(UnknownAccountError, match=text):
            attempt()


def test_model_permissions_are_kept_until_they_are_taken_away(accounts: Accounts) -> None:
    project = accounts.projects.create(ADMIN, "shop")
    only = ModelPermissions(mode="allow_list", models=["small"])
    accounts.projects.permit_models(ADMIN, project.id, only)
    found = accounts.projects.get(project.id).model_permissions
    assert found is not None
    assert (found.permits(["small", "s"]), found.permits(["large"])) == (True, False)
    without = ModelPermissions(mode="deny_list", models=["small"])
    assert (without.permits(["small", "s"]), without.permits(["large"])) == (False, True)
    assert accounts.projects.permit_models(ADMIN, project.id, None).model_permissions is None


def test_service_accounts_are_a_projects_own(accounts: Accounts) -> None:
    shop, other = (accounts.projects.create(ADMIN, name) for name in ("shop", "other"))
    web = accounts.service_accounts.create(ADMIN, shop.id, "web")
    job = accounts.service_accounts.create(ADMIN, shop.id, "job", role="owner")
    assert accounts.service_accounts.list(shop.id, limit=5) == ([web, job], False)
    assert accounts.service_accounts.list(shop.id, limit=1) == ([web], True)
    assert accounts.service_accounts.list(other.id, limit=5) == ([], False)
    with pytest.raises(UnknownAccountError):
        accounts.service_accounts.get(other.id, web.id)
    changed = accounts.service_accounts.update(ADMIN, shop.id, web.id, name="site", role="owner")
    assert (changed.name, changed.role, changed.created_at) == ("site", "owner", web.created_at)
    accounts.service_accounts.delete(ADMIN, shop.id, job.id)
    assert accounts.service_accounts.list(shop.id, limit=5) == ([changed], False)


def test_limits_are_of_so_many_models_and_end_where_none_is_left(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.accounts.projects._MOST_LIMITED", 3)
    project = accounts.projects.create(ADMIN, "shop")
    limit = accounts.projects.limit_rates
    for n in range(3):
        limit(ADMIN, project.id, f"m{n}", requests_per_minute=1)
    with pytest.raises(AccountError, match="3 models"):
        limit(ADMIN, project.id, "more", requests_per_minute=1)
    limit(ADMIN, project.id, "m0", requests_per_minute=None)
    assert "m0" not in limit(ADMIN, project.id, "more", tokens_per_minute=5).rate_limits
