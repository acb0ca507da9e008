"""The message that a spend alert is: a JSON object like those of OpenAI's webhooks."""

from __future__ import annotations

import json
from dataclasses import dataclass

from shared.accounts.limits import NANODOLLARS
from shared.accounts.types import Project, SpendAlert

_LONGEST_SUBJECT = 99
"""Characters that SNS takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertEvent:
    """That spending has come to an alert's threshold; ``spent`` in nanodollars.

    ``project`` None is the organization. The same event is the same bytes, however often it is
    sent; ``id`` tells receivers that it is.
    """

    id: str
    created_at: int
    alert: SpendAlert
    project: Project | None
    month: str
    spent: int

    @property
    def whose(self) -> str:
        """Whose spending it is, for the log."""
        return "the organization" if self.project is None else f"project {self.project.id}"

    @property
    def body(self) -> bytes:
        """The event as JSON."""
        alert, project = self.alert, self.project
        subject = "organization" if project is None else "project"
        value = {
            "id": self.id,
            "object": "event",
            "created_at": self.created_at,
            "type": f"{subject}.spend_alert.reached",
            "data": {
                "id": alert.id,
                "project": None if project is None else {"id": project.id, "name": project.name},
                "month": self.month,
                "currency": "USD",
                "threshold_amount": alert.threshold,
                "spent_amount": self.spent * 100 / NANODOLLARS,
                "notification_channel": {
                    "type": "email",
                    "recipients": list(alert.recipients),
                    "subject_prefix": alert.subject_prefix,
                },
            },
        }
        return json.dumps(value, separators=(",", ":")).encode()

    @property
    def subject(self) -> str:
        """A line for people, in ASCII."""
        whose = "all projects" if self.project is None else f"project {self.project.name}"
        text = (
            f"{self.alert.subject_prefix or ''} ${self.alert.threshold / 100:.2f} spent by {whose}"
        )
        ascii_text = "".join(each if " " <= each <= "~" else "?" for each in text)
        return ascii_text.strip()[:_LONGEST_SUBJECT]
