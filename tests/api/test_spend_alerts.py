"""Spend alerts, as the `openai` package's client sets them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from openai import APIStatusError, BadRequestError, NotFoundError
from openai.types.admin.organization import OrganizationSpendAlert
from openai.types.admin.organization.projects import ProjectSpendAlert

from tests.api.tenants import Tenant

CHANNEL: Any = {"type": "email", "recipients": ["billing@example.com"], "subject_prefix": "[llm]"}


def body(cents: int, **fields: Any) -> Any:
    """The fields of an alert at so many cents."""
    channel = {"type": "email", "recipients": []}
    common = {"currency": "USD", "interval": "month", "notification_channel": channel}
    return {**common, "threshold_amount": cents, **fields}


def test_alerts_of_a_project(tenant: Tenant) -> None:
    alerts = tenant.admin.admin.organization.projects.spend_alerts
    made = [
        alerts.create(tenant.project, **body(cents, notification_channel=CHANNEL))
        for cents in (0, 4000, 10**11)
    ]
    assert isinstance(made[0], ProjectSpendAlert)
    assert made[1].to_dict() == {
        "id": made[1].id,
        "object": "project.spend_alert",
        "currency": "USD",
        "interval": "month",
        "threshold_amount": 4000,
        "notification_channel": CHANNEL,
    }
    assert list(alerts.list(tenant.project)) == made
    assert list(alerts.list(tenant.project, limit=1)) == made
    assert list(alerts.list(tenant.project, order="desc", limit=2)) == made[::-1]
    assert list(alerts.list(tenant.project, after=made[0].id)) == made[1:]
    changed = alerts.update(made[0].id, project_id=tenant.project, **body(5))
    assert alerts.retrieve(made[0].id, project_id=tenant.project) == changed
    assert (changed.id, changed.threshold_amount) == (made[0].id, 5)
    assert changed.notification_channel.to_dict() == {
        "type": "email",
        "recipients": [],
        "subject_prefix": None,
    }
    deleted = alerts.delete(made[0].id, project_id=tenant.project)
    assert (deleted.deleted, deleted.id) == (True, made[0].id)
    assert deleted.object == "project.spend_alert.deleted"
    assert list(alerts.list(tenant.project)) == made[1:]
    own = tenant.server.http.get("/v1/key", headers={"authorization": f"Bearer {tenant.key}"})
    assert "alert" not in own.text


def test_alerts_of_the_organization(tenant: Tenant) -> None:
    alerts = tenant.admin.admin.organization.spend_alerts
    made = alerts.create(**body(4000, notification_channel=CHANNEL))
    assert isinstance(made, OrganizationSpendAlert)
    assert made.object == "organization.spend_alert"
    assert made.notification_channel.to_dict() == CHANNEL
    assert alerts.retrieve(made.id) in list(alerts.list())
    assert alerts.update(made.id, **body(1)).threshold_amount == 1
    (event,) = list(tenant.admin.admin.organization.audit_logs.list(limit=1).data)
    assert event.type == "organization.updated"
    assert alerts.delete(made.id).object == "organization.spend_alert.deleted"
    with pytest.raises(NotFoundError):
        alerts.retrieve(made.id)


def test_an_alert_above_the_limit_is_refused(tenant: Tenant) -> None:
    tenant.budget(5000)
    alerts = tenant.admin.admin.organization.projects.spend_alerts
    with pytest.raises(BadRequestError, match="would never be sent") as refused:
        alerts.create(tenant.project, **body(5001))
    assert (refused.value.code, refused.value.param) == ("invalid_state", "threshold_amount")
    assert alerts.create(tenant.project, **body(5000)).threshold_amount == 5000


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"threshold_amount": -1}, "threshold_amount"),
        ({"threshold_amount": 10**11 + 1}, "threshold_amount"),
        ({"threshold_amount": 1.5}, "threshold_amount"),
        ({"currency": "EUR"}, "currency"),
        ({"interval": "day"}, "interval"),
        ({"notification_channel": None}, "notification_channel"),
        ({"notification_channel": {"type": "sms", "recipients": []}}, "notification_channel.type"),
        ({"notification_channel": {"type": "email"}}, "notification_channel.recipients"),
        (
            {"notification_channel": {**CHANNEL, "recipients": ["nobody"]}},
            "notification_channel.recipients[0]",
        ),
        (
            {"notification_channel": {**CHANNEL, "recipients": ["a@b.c"] * 11}},
            "notification_channel.recipients",
        ),
        (
            {"notification_channel": {**CHANNEL, "subject_prefix": "a\r\nBcc: x@y.z"}},
            "notification_channel.subject_prefix",
        ),
    ],
)
def test_bad_input_is_named(tenant: Tenant, fields: Any, param: str) -> None:
    organization = tenant.admin.admin.organization
    for create in (
        lambda **sent: organization.projects.spend_alerts.create(tenant.project, **sent),
        organization.spend_alerts.create,
    ):
        with pytest.raises(BadRequestError) as refused:
            create(**{**body(1), **fields})
        assert refused.value.param == param


@pytest.mark.parametrize(
    "call",
    [
        lambda o, p: o.projects.spend_alerts.list("proj_0"),
        lambda o, p: o.projects.spend_alerts.create("proj_0", **body(1)),
        lambda o, p: o.projects.spend_alerts.retrieve("alert_0", project_id=p),
        lambda o, p: o.projects.spend_alerts.update("alert_0", project_id=p, **body(1)),
        lambda o, p: o.projects.spend_alerts.delete("alert_0", project_id=p),
        lambda o, p: o.spend_alerts.delete("alert_0"),
    ],
)
def test_what_is_not_there_is_404(tenant: Tenant, call: Callable[[Any, str], object]) -> None:
    with pytest.raises(NotFoundError):
        call(tenant.admin.admin.organization, tenant.project)


def test_a_cursor_that_is_nowhere_is_refused(tenant: Tenant) -> None:
    with pytest.raises(APIStatusError) as refused:
        tenant.admin.admin.organization.projects.spend_alerts.list(tenant.project, after="alert_0")
    assert refused.value.param == "after"
