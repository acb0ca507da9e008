"""Delivery of spend alerts by a server, as requests are answered."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from shared.accounts.accounts import open_accounts
from shared.accounts.audit_log import Actor
from shared.runtime import alert_sender
from tests.api.tenants import PRICES, Tenant
from tests.api.test_spend_alerts import CHANNEL, body
from tests.app_server import AppServer
from tests.server import wait_until
from tests.webhook_receiver import SECRET, Received, webhook_receiver


@pytest.fixture(scope="module")
def received() -> Iterator[Received]:
    """What the server sends."""
    with webhook_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def admin_server(
    log_directory: Path, tmp_path_factory: pytest.TempPathFactory, received: Received
) -> Iterator[tuple[AppServer, OpenAI]]:
    """A server that sends webhooks, and its administrator's client."""
    directory = tmp_path_factory.mktemp("alerts")
    with closing(open_accounts("sqlite", directory)) as accounts:
        _, secret = accounts.keys.issue(Actor(), "operator", None)
    options = ("--accounts", "true", "--data-dir", str(directory), "--prices", PRICES)
    webhook = ("--webhook-url", received.url, "--webhook-secret", SECRET)
    server = AppServer(log_directory / "alerts.log", *options, *webhook, "--alias", "small,s")
    yield server, server.openai(admin_api_key=secret)
    server.stop()


@pytest.fixture(autouse=True)
def _nothing_received(received: Received) -> None:
    received.requests.clear()
    received.statuses[:] = [204]
    received.blocks = None


def _alert(tenant: Tenant, cents: int) -> Any:
    alerts = tenant.admin.admin.organization.projects.spend_alerts
    return alerts.create(tenant.project, **body(cents, notification_channel=CHANNEL))


def _complete(tenant: Tenant, n: int, **fields: Any) -> Any:
    """So many tokens, a tenth of a cent each, of a prompt of one (0.01 cents)."""
    return tenant.client().completions.create(
        prompt=[5], max_tokens=n, model="small", extra_body={"ignore_eos": True}, **fields
    )


@pytest.mark.parametrize("stream", [False, True])
def test_an_alert_is_sent_once_before_the_answer_ends(
    tenant: Tenant, received: Received, stream: bool
) -> None:
    alert, higher = _alert(tenant, 1), _alert(tenant, 100)
    _complete(tenant, 5)
    assert received.requests == []
    answer = _complete(tenant, 6, stream=stream)
    if stream:
        list(answer)
    ((_, headers, sent),) = received.requests
    tenant.admin.webhooks.verify_signature(sent, headers, secret=SECRET)
    event = json.loads(sent)
    assert event["type"] == "project.spend_alert.reached"
    assert event["id"] == headers["webhook-id"]
    data = event["data"]
    assert data.pop("month")
    assert data.pop("spent_amount") == pytest.approx(1.12)
    assert data == {
        "id": alert.id,
        "project": {"id": tenant.project, "name": "shop"},
        "currency": "USD",
        "threshold_amount": 1,
        "notification_channel": CHANNEL,
    }
    for _ in range(3):
        _complete(tenant, 5)
    assert len(received.requests) == 1
    log = tenant.server.log_text()
    assert f"spend alert {alert.id} of project {tenant.project}: $0.01 of $0.01 spent" in log
    assert higher.id not in log


def test_several_alerts_that_are_reached_at_once_are_all_sent(
    tenant: Tenant, received: Received
) -> None:
    made = {_alert(tenant, cents).id for cents in (0, 1, 2)}
    _complete(tenant, 21)
    assert {json.loads(sent)["data"]["id"] for _, _, sent in received.requests} == made


def test_what_failed_is_sent_again_with_its_id(
    tenant: Tenant, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    received.statuses[:] = [500, 204]
    _alert(tenant, 1)
    assert _complete(tenant, 11).choices
    _complete(tenant, 1)
    assert len(received.requests) == 1
    state = tenant.server._state
    clock = state.spend_alerts._clock
    monkeypatch.setattr(state.spend_alerts, "_clock", lambda: clock() + 31)
    accounts = state.stores.opened_accounts
    assert accounts is not None
    monkeypatch.setattr(accounts.alert_deliveries, "_clock", lambda: clock() + 31)
    for _ in range(2):
        _complete(tenant, 1)
    first, second = received.requests
    assert first[1]["webhook-id"] == second[1]["webhook-id"]
    assert first[2] == second[2]
    assert "was not delivered by webhook (attempt 1): it answered 500" in tenant.server.log_text()


def test_a_receiver_that_does_not_answer_holds_nobody_up_for_long(
    tenant: Tenant, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_sender, "_SECONDS", 0.05)
    received.blocks = threading.Event()
    _alert(tenant, 1)
    assert _complete(tenant, 11).choices
    assert _complete(tenant, 11).choices
    received.blocks.set()
    wait_until(lambda: len(received.requests) == 1, "the webhook")


def test_a_store_that_fails_for_alerts_fails_no_request(
    tenant: Tenant, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.accounts.alerts.deliveries import Deliveries
    from shared.storage.base import StoreError

    def fail(*_: object) -> None:
        raise StoreError("injected")

    monkeypatch.setattr(Deliveries, "claim", fail)
    _alert(tenant, 1)
    assert _complete(tenant, 11).choices
    assert received.requests == []
    assert f"alerts of {tenant.project} are not checked" in tenant.server.log_text()


def test_one_that_nobody_takes_is_given_up(
    tenant: Tenant, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.accounts.alerts import deliveries

    monkeypatch.setattr(deliveries, "MOST_ATTEMPTS", 1)
    received.statuses[:] = [500]
    alert = _alert(tenant, 1)
    _complete(tenant, 11)
    _complete(tenant, 11)
    assert len(received.requests) == 1
    assert f"{alert.id} of project {tenant.project} is given up" in tenant.server.log_text()
