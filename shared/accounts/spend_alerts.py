"""Spend alerts of projects and of the organization: creating, changing, deleting.

They are in the record of what they belong to: whoever looks a key up has them with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from shared.accounts.audit_log import Actor, AuditLog
from shared.accounts.documents import (
    ORGANIZATION_PLACE,
    changed,
    organization_of,
    project_of,
    project_place,
    revised,
)
from shared.accounts.records import Place, Record, Records
from shared.accounts.types import (
    AccountError,
    ArchivedProjectError,
    Clock,
    Organization,
    Project,
    SpendAlert,
    UnknownAccountError,
    new_account_id,
)

MOST_ALERTS = 20
"""Of a project, or of the organization."""

Alerts = tuple[SpendAlert, ...]


class AlertAboveLimitError(AccountError):
    """An alert at more than may be spent, which would never be sent. Amounts in cents."""

    param = "threshold_amount"

    def __init__(self, whose: str, threshold: int, limit: int) -> None:
        super().__init__(
            f"The spend limit of {whose} is ${limit / 100:.2f} a month, so an alert at "
            f"${threshold / 100:.2f} would never be sent. Choose a lower threshold, or raise the "
            "limit first."
        )


class SpendAlerts:
    """Spend alerts; ``project_id`` None is the organization.

    All methods raise `StoreError` and `UnknownAccountError`, those that change something also
    `ArchivedProjectError`.
    """

    def __init__(self, records: Records, audit_log: AuditLog, clock: Clock) -> None:
        self._records = records
        self._audit_log = audit_log
        self._clock = clock

    def list(self, project_id: str | None) -> Sequence[SpendAlert]:
        """All of them, the oldest first."""
        return _owner(self._records.get(_place(project_id)), project_id).spend_alerts

    def get(self, project_id: str | None, alert_id: str) -> SpendAlert:
        """One of them."""
        return _found(self.list(project_id), alert_id)

    def create(
        self,
        actor: Actor,
        project_id: str | None,
        threshold: int,
        recipients: Sequence[str] = (),
        subject_prefix: str | None = None,
    ) -> SpendAlert:
        """A new one; raises `AlertAboveLimitError`, and `AccountError` for one too many."""
        new = SpendAlert(
            id=new_account_id("alert", self._clock),
            threshold=threshold,
            recipients=tuple(recipients),
            subject_prefix=subject_prefix,
        )

        def create(alerts: Alerts) -> Alerts:
            if len(alerts) >= MOST_ALERTS:
                raise AccountError(
                    f"There are {MOST_ALERTS} spend alerts, which is the most. Delete one first."
                )
            return (*alerts, new)

        self._change(actor, project_id, new.id, threshold, create)
        return new

    def update(
        self, actor: Actor, project_id: str | None, alert_id: str, threshold: int, **values: Any
    ) -> SpendAlert:
        """Change one: another threshold is told of anew. Raises `AlertAboveLimitError`.

        ``values``: of other fields of `SpendAlert`.
        """
        result: list[SpendAlert] = []

        def update(alerts: Alerts) -> Alerts:
            new = replace(_found(alerts, alert_id), threshold=threshold, **values)
            result[:] = [new]
            return tuple(new if each.id == alert_id else each for each in alerts)

        self._change(actor, project_id, alert_id, threshold, update)
        return result[0]

    def delete(self, actor: Actor, project_id: str | None, alert_id: str) -> None:
        """Delete one."""

        def delete(alerts: Alerts) -> Alerts:
            _found(alerts, alert_id)
            return tuple(each for each in alerts if each.id != alert_id)

        self._change(actor, project_id, alert_id, None, delete)

    def _change(
        self,
        actor: Actor,
        project_id: str | None,
        alert_id: str,
        threshold: int | None,
        change: Callable[[Alerts], Alerts],
    ) -> None:
        """Put what ``change`` makes of the alerts; ``threshold`` is the alert's from now on."""
        place = _place(project_id)

        def write(record: Record | None) -> tuple[Sequence[Record], Sequence[Record]]:
            owner = _owner(record, project_id)
            if isinstance(owner, Project):
                if owner.archived_at is not None:
                    raise ArchivedProjectError(owner.id)
                limit, whose, project = owner.spend_limit, f"project '{owner.id}'", owner
                type_, details = "project.updated", {"id": owner.id}
            else:
                limit, whose, project = owner.spend_limit, "the organization", None
                type_, details = "organization.updated", {"id": "organization"}
            alerts = change(tuple(owner.spend_alerts))
            if threshold is not None and limit is not None and threshold > limit:
                raise AlertAboveLimitError(whose, threshold, limit)
            # Without recipients: nothing deletes the audit log.
            changes = {"spend_alert": {"id": alert_id, "threshold_amount": threshold}}
            event = self._audit_log.event(
                actor,
                type_,
                {**details, "changes_requested": changes},
                (project.id, project.name) if project is not None else None,
            )
            kept = [asdict(each) for each in alerts]
            return [revised(record or Record(place, {}), spend_alerts=kept), event], []

        changed(self._records, place, write)


def _place(project_id: str | None) -> Place:
    return ORGANIZATION_PLACE if project_id is None else project_place(project_id)


def _owner(record: Record | None, project_id: str | None) -> Project | Organization:
    if project_id is None:
        return organization_of(record)
    if record is None:
        raise UnknownAccountError("project", project_id)
    return project_of(record)


def _found(alerts: Sequence[SpendAlert], alert_id: str) -> SpendAlert:
    found = next((each for each in alerts if each.id == alert_id), None)
    if found is None:
        raise UnknownAccountError("spend alert", alert_id)
    return found
