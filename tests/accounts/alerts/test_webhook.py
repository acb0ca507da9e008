"""Webhooks, as a receiver with the `openai` package gets them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from openai import InvalidWebhookSignatureError, OpenAI

from shared.accounts.alerts.channel import DeliveryError
from shared.accounts.alerts.event import AlertEvent
from shared.accounts.alerts.webhook import Webhook
from shared.accounts.limits import CENT
from shared.accounts.types import Project, SpendAlert
from tests.webhook_receiver import SECRET, Received, webhook_receiver

OTHER = "whsec_" + SECRET[:5:-1].replace("=", "A")
EVENT = AlertEvent(
    id="evt_1",
    created_at=1_800_000_000,
    alert=SpendAlert(id="alert_1", threshold=100, recipients=("é@example.com",)),
    project=Project(id="proj_1", name="Café\n", created_at=0),
    month="2027-01",
    spent=101 * CENT,
)


@pytest.fixture
def receiver() -> Iterator[Received]:
    """Where webhooks go to."""
    with webhook_receiver() as receiver:
        yield receiver


def test_openais_client_verifies_it(receiver: Received) -> None:
    Webhook(receiver.url, [SECRET], time.time).send(EVENT)
    ((path, headers, body),) = receiver.requests
    client = OpenAI(api_key="unused", webhook_secret=SECRET)
    client.webhooks.verify_signature(body, headers)
    event = client.webhooks.unwrap(body, headers)
    assert (event.id, event.created_at, event.object) == ("evt_1", 1_800_000_000, "event")
    assert event.type == "project.spend_alert.reached"  # type: ignore[comparison-overlap]
    assert headers["webhook-id"] == "evt_1"
    assert headers["content-type"] == "application/json"
    assert path == "/alerts?token=abc"
    for secret, signed in ((OTHER, body), (SECRET, body + b" ")):
        with pytest.raises(InvalidWebhookSignatureError):
            client.webhooks.verify_signature(signed, headers, secret=secret)


def test_while_secrets_are_replaced_both_verify(receiver: Received) -> None:
    Webhook(receiver.url, [SECRET, OTHER], time.time).send(EVENT)
    ((_, headers, body),) = receiver.requests
    for secret in (SECRET, OTHER):
        OpenAI(api_key="unused").webhooks.verify_signature(body, headers, secret=secret)


@pytest.mark.parametrize("status", [302, 308, 400, 410, 500])
def test_what_is_not_taken_is_said(receiver: Received, status: int) -> None:
    receiver.statuses = [status]
    with pytest.raises(DeliveryError, match=str(status)):
        Webhook(receiver.url, [SECRET], time.time).send(EVENT)
    assert len(receiver.requests) == 1  # no redirect was followed


def test_the_url_is_in_no_error() -> None:
    with webhook_receiver() as receiver:
        gone = receiver.url
    with pytest.raises(DeliveryError) as failed:
        Webhook(gone, [SECRET], time.time).send(EVENT)
    assert "token" not in str(failed.value)


def test_a_subject_is_one_line_of_ascii() -> None:
    assert EVENT.subject == "$1.00 spent by project Caf??"
