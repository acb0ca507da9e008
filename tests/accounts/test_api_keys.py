"""API keys: issued, looked up by their hash, expired, revoked."""

from __future__ import annotations

import json

import pytest

from shared.accounts.accounts import Accounts
from shared.accounts.key_format import hash_of
from shared.accounts.records import Records
from shared.accounts.types import AccountError, ServiceAccount
from shared.storage.base import StoreError
from tests.accounts.clock import Clock
from tests.accounts.test_projects import ADMIN


def _service_account(accounts: Accounts, name: str = "web") -> ServiceAccount:
    project = accounts.projects.create(ADMIN, "shop")
    return accounts.service_accounts.create(ADMIN, project.id, name)


def _hash(secret: str) -> str:
    return hash_of(secret.encode())


def test_a_keys_holder_is_its_project(accounts: Accounts) -> None:
    account = _service_account(accounts)
    key, secret = accounts.keys.issue(ADMIN, "first", account)
    holder = accounts.keys.holder(_hash(secret))
    assert holder is not None
    assert holder.project == accounts.projects.get(account.project_id)
    assert holder.service_account == account
    assert holder.key.id == key.id
    assert accounts.keys.owner(key) == account
    assert accounts.keys.holder(_hash(secret + "x")) is None


def test_an_admin_key_is_nobodys_project(accounts: Accounts) -> None:
    key, secret = accounts.keys.issue(ADMIN, "root", None)
    holder = accounts.keys.holder(_hash(secret))
    assert holder is not None
    assert (holder.project, holder.key.id) == (None, key.id)
    assert [each.id for each in accounts.keys.list(None, limit=5)[0]] == [key.id]


def test_the_secret_is_kept_nowhere(accounts: Accounts, records: Records) -> None:
    account = _service_account(accounts)
    key, secret = accounts.keys.issue(ADMIN, "first", account)
    accounts.keys.holder(_hash(secret))
    partitions = ("audit", f"keys:{account.project_id}", f"key:{key.hash}", "admin_keys")
    kept = [each for name in partitions for each in records.list(name, "", limit=100)]
    assert len(kept) == 5
    text = json.dumps([(each.place, each.value) for each in kept])
    assert key.hash in text
    assert secret[len("sk-pilot-proj-") : -4] not in text


def test_lists_go_both_ways(accounts: Accounts) -> None:
    account = _service_account(accounts)
    ids = [accounts.keys.issue(ADMIN, str(n), account)[0].id for n in range(5)]
    project = account.project_id
    page, more = accounts.keys.list(project, limit=3)
    assert ([key.id for key in page], more) == (ids[:3], True)
    page, more = accounts.keys.list(project, limit=3, after=ids[1], descending=True)
    assert ([key.id for key in page], more) == ([ids[0]], False)


def test_a_revoked_key_is_nobodys(accounts: Accounts) -> None:
    account = _service_account(accounts)
    key, secret = accounts.keys.issue(ADMIN, "first", account)
    _, other = accounts.keys.issue(ADMIN, "second", account)
    accounts.keys.revoke(ADMIN, account.project_id, key.id)
    assert accounts.keys.holder(_hash(secret)) is None
    assert accounts.keys.holder(_hash(other)) is not None
    assert len(accounts.keys.list(account.project_id, limit=5)[0]) == 1


def test_a_key_expires(accounts: Accounts, clock: Clock) -> None:
    account = _service_account(accounts)
    key, secret = accounts.keys.issue(ADMIN, "first", account, expires_in=60)
    assert accounts.keys.holder(_hash(secret)) is not None
    clock.advance(30)
    later = accounts.keys.expire(ADMIN, account.project_id, key.id, 60)
    clock.advance(45)
    assert accounts.keys.holder(_hash(secret)) is not None
    assert accounts.keys.get(account.project_id, key.id).expires_at == later.expires_at
    clock.advance(20)
    assert accounts.keys.holder(_hash(secret)) is None
    with pytest.raises(AccountError, match="has expired"):
        accounts.keys.expire(ADMIN, account.project_id, key.id, 60)


def test_keys_end_with_their_project_or_owner(accounts: Accounts) -> None:
    first, second = _service_account(accounts), _service_account(accounts)
    _, one = accounts.keys.issue(ADMIN, "one", first)
    key, two = accounts.keys.issue(ADMIN, "two", second)
    accounts.projects.archive(ADMIN, first.project_id)
    accounts.service_accounts.delete(ADMIN, second.project_id, second.id)
    assert accounts.keys.holder(_hash(one)) is None
    assert accounts.keys.holder(_hash(two)) is None
    assert accounts.keys.owner(key) is None


def test_when_a_key_was_used_is_known_to_the_hour(accounts: Accounts, clock: Clock) -> None:
    account = _service_account(accounts)
    key, secret = accounts.keys.issue(ADMIN, "first", account)

    def last_used() -> int | None:
        return accounts.keys.get(account.project_id, key.id).last_used_at

    assert last_used() is None
    accounts.keys.holder(_hash(secret))
    first = last_used()
    assert first == int(clock.now)
    clock.advance(3000)
    accounts.keys.holder(_hash(secret))
    assert last_used() == first
    clock.advance(3000)
    accounts.keys.holder(_hash(secret))
    assert last_used() == int(clock.now)


def test_a_key_is_good_while_its_use_can_not_be_noted(
    accounts: Accounts, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, secret = accounts.keys.issue(ADMIN, "first", _service_account(accounts))

    def fail(*_: object) -> bool:
        raise StoreError("injected")

    monkeypatch.setattr(records, "write", fail)
    assert accounts.keys.holder(_hash(secret)) is not None
