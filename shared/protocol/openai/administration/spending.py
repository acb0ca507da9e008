"""Spend alerts and limits of the administration API: request bodies and objects."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from shared.accounts.types import SpendAlert
from shared.protocol.openai.administration.objects import Enforcement
from shared.protocol.responses import Body
from shared.protocol.strict import Items, Strict

_MOST_RECIPIENTS = 10
_EMAIL = r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$"
_NO_CONTROL_CHARACTERS = r"^[^\x00-\x1f\x7f]*$"

Cents = Annotated[int, Field(ge=0, le=10**11)]


class NotificationChannel(Strict):
    """Who is to be told by e-mail; it goes with the message."""

    type: Literal["email"]
    recipients: Annotated[
        list[Annotated[str, Field(pattern=_EMAIL, max_length=254)]], Items(_MOST_RECIPIENTS)
    ]
    subject_prefix: Annotated[str, Field(pattern=_NO_CONTROL_CHARACTERS, max_length=128)] | None = (
        None
    )


class SpendAlertBody(Strict):
    """Body of ``POST …/spend_alerts`` and ``POST …/spend_alerts/{alert_id}``."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "currency": "USD",
                    "interval": "month",
                    "threshold_amount": 4000,
                    "notification_channel": {
                        "type": "email",
                        "recipients": ["billing@example.com"],
                    },
                }
            ]
        }
    )

    currency: Literal["USD"]
    interval: Literal["month"]
    threshold_amount: Cents = Field(description="Cents.")
    notification_channel: NotificationChannel


class NotificationChannelObject(Body):
    """Who is to be told by e-mail."""

    type: Literal["email"] = "email"
    recipients: list[str]
    subject_prefix: str | None

    @classmethod
    def of(cls, alert: SpendAlert) -> NotificationChannelObject:
        """An alert's."""
        return cls(recipients=list(alert.recipients), subject_prefix=alert.subject_prefix)


class SpendAlertObject(Body):
    """A spend alert; ``threshold_amount`` in cents."""

    id: str
    object: Literal["project.spend_alert", "organization.spend_alert"]
    currency: Literal["USD"] = "USD"
    interval: Literal["month"] = "month"
    threshold_amount: int
    notification_channel: NotificationChannelObject

    @classmethod
    def of(cls, alert: SpendAlert, project_id: str | None) -> SpendAlertObject:
        """An alert as it is shown; ``project_id`` None is the organization."""
        return cls(
            id=alert.id,
            object="organization.spend_alert" if project_id is None else "project.spend_alert",
            threshold_amount=alert.threshold,
            notification_channel=NotificationChannelObject.of(alert),
        )


class OrganizationSpendLimitObject(Body):
    """What all projects together may spend in a month; ``threshold_amount`` in cents."""

    object: Literal["organization.spend_limit"] = "organization.spend_limit"
    currency: Literal["USD"] = "USD"
    interval: Literal["month"] = "month"
    threshold_amount: int
    enforcement: Enforcement


class OrganizationSpendLimitDeleted(Body):
    """That the organization's spend limit was deleted."""

    object: Literal["organization.spend_limit.deleted"] = "organization.spend_limit.deleted"
    deleted: bool
