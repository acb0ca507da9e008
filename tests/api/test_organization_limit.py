"""The organization's spend limit and alerts, as requests meet them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai import APIStatusError, BadRequestError, NotFoundError, RateLimitError

from shared.runtime import organization_budget
from tests.api.tenants import Tenant
from tests.api.test_alert_delivery import admin_server, received
from tests.api.test_spend_alerts import body
from tests.webhook_receiver import SECRET, Received

__all__ = ["admin_server", "received"]


def _set(tenant: Tenant, cents: int) -> Any:
    return tenant.admin.admin.organization.spend_limit.update(
        currency="USD", interval="month", threshold_amount=cents
    )


@pytest.fixture(autouse=True)
def _no_limit(tenant: Tenant) -> Iterator[None]:
    """Neither before nor after; and what the server has seen before is forgotten."""
    tenant.server._state._organization_budget = None
    yield
    tenant.admin.admin.organization.spend_limit.delete()


def test_it_is_set_shown_and_deleted(tenant: Tenant) -> None:
    limit = tenant.admin.admin.organization.spend_limit
    assert _set(tenant, 10**6).to_dict() == {
        "object": "organization.spend_limit",
        "currency": "USD",
        "interval": "month",
        "threshold_amount": 10**6,
        "enforcement": {"status": "inactive"},
    }
    assert limit.retrieve().threshold_amount == 10**6
    assert _set(tenant, 0).enforcement.status == "enforcing"
    deleted = limit.delete()
    assert (deleted.deleted, deleted.object) == (True, "organization.spend_limit.deleted")
    with pytest.raises(NotFoundError):
        limit.retrieve()
    with pytest.raises(BadRequestError) as refused:
        _set(tenant, -1)
    assert refused.value.param == "threshold_amount"


def test_what_is_spent_by_any_project_counts(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant.chat(max_tokens=12)
    projects = tenant.admin.admin.organization.projects
    other = projects.create(name="other")
    account = projects.service_accounts.create(other.id, name="web")
    assert account.api_key is not None
    assert _set(tenant, 1).enforcement.status == "enforcing"
    client = tenant.server.openai(api_key=account.api_key.value, max_retries=5)
    with pytest.raises(RateLimitError, match="All projects together") as refused:
        client.completions.create(model="small", prompt="a", max_tokens=1)
    assert refused.value.code == "insufficient_quota"
    assert refused.value.response.headers["x-should-retry"] == "false"
    # Remembered, without the store.
    monkeypatch.setattr(organization_budget.OrganizationBudget, "spent", None)
    with pytest.raises(RateLimitError, match="All projects together"):
        client.completions.create(model="small", prompt="a", max_tokens=1)


def test_a_limit_that_is_far_lets_pass(tenant: Tenant) -> None:
    _set(tenant, 10**6)
    assert tenant.chat().choices


def test_a_store_that_fails_refuses_where_there_is_a_limit(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.accounts.organization import OrganizationSpending
    from shared.storage.base import StoreError

    def fail(*_: object) -> None:
        raise StoreError("injected")

    _set(tenant, 10**6)
    monkeypatch.setattr(OrganizationSpending, "known", fail)
    with pytest.raises(APIStatusError) as refused:
        tenant.chat()
    assert (refused.value.status_code, refused.value.code) == (503, "accounts_unavailable")
    assert tenant.usage() == []


def test_an_alert_of_the_organization_is_sent_once(tenant: Tenant, received: Received) -> None:
    received.requests.clear()
    alerts = tenant.admin.admin.organization.spend_alerts
    alert = alerts.create(**body(1))
    try:
        tenant.chat(max_tokens=12, extra_body={"ignore_eos": True})
        tenant.server._state._organization_budget = None  # 30 s later
        state = tenant.server._state
        accounts = state.stores.opened_accounts
        assert accounts is not None
        accounts.organization_spending.sum_up()
        for _ in range(2):
            state._alert_sender = None  # another process
            tenant.chat()
    finally:
        alerts.delete(alert.id)
    ((_, headers, sent),) = received.requests
    tenant.admin.webhooks.verify_signature(sent, headers, secret=SECRET)
    event = json.loads(sent)
    assert event["type"] == "organization.spend_alert.reached"
    assert (event["data"]["id"], event["data"]["project"]) == (alert.id, None)
    assert event["data"]["spent_amount"] > 1


def test_a_refusal_sends_the_alert_at_the_limit(tenant: Tenant, received: Received) -> None:
    tenant.chat(max_tokens=12, extra_body={"ignore_eos": True})
    alerts = tenant.admin.admin.organization.spend_alerts
    _set(tenant, 1)
    alert = alerts.create(**body(1))
    received.requests.clear()
    try:
        other = tenant.admin.admin.organization.projects.service_accounts.create(
            tenant.project, name="another"
        )
        assert other.api_key is not None
        tenant.server._state._organization_budget = None
        tenant.server._state._alert_sender = None
        with pytest.raises(RateLimitError):
            tenant.server.openai(api_key=other.api_key.value).completions.create(
                model="small", prompt="a", max_tokens=1
            )
    finally:
        alerts.delete(alert.id)
    assert [json.loads(sent)["data"]["id"] for _, _, sent in received.requests] == [alert.id]
