"""``pilotlight alerts``: spend alerts of projects and of the organization."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from functions.cli.accounts.administration import Administration, AdministrationError
from functions.cli.accounts.money import shown_dollars
from functions.cli.accounts.output import print_json, show
from functions.cli.accounts.projects import find_project
from functions.cli.table import print_rows

_ALERTS = "spend_alerts"

Alert = tuple[str, dict[str, Any]]
"""An alert, and the name of its project: empty for the organization's."""


def create_alert(admin: Administration, options: argparse.Namespace) -> None:
    """Create an alert."""
    body = {
        "currency": "USD",
        "interval": "month",
        "threshold_amount": options.amount,
        "notification_channel": {
            "type": "email",
            "recipients": options.email,
            "subject_prefix": options.subject_prefix,
        },
    }
    path: tuple[str, ...] = (_ALERTS,)
    whose = "all projects together have"
    if not options.organization:
        project = find_project(admin, options.project)
        path = ("projects", project["id"], _ALERTS)
        whose = f"project '{project['name']}' has"
    alert = admin.ask("POST", *path, body=body)
    words = f"created alert {alert['id']}: when {whose} spent ${_dollars(alert)} in a month (UTC)"
    show(options, alert, words)


def list_alerts(admin: Administration, options: argparse.Namespace) -> None:
    """A table of alerts."""
    found = list(_alerts(admin, options.project, is_organization=options.organization))
    if options.json:
        print_json([alert for _, alert in found])
        return
    if not found:
        print("no alerts; 'pilotlight alerts create' makes one", file=sys.stderr)
        return
    print_rows(
        ("id", "project", "e-mail", "dollars a month"),
        [
            (
                alert["id"],
                project or "(organization)",
                ", ".join(alert["notification_channel"]["recipients"]),
                _dollars(alert),
            )
            for project, alert in found
        ],
        numbers=1,
    )


def delete_alerts(admin: Administration, options: argparse.Namespace) -> None:
    """Delete alerts, wherever they are."""
    missing = set(options.ids)
    paths = [(_ALERTS,), *(("projects", p["id"], _ALERTS) for p in admin.items("projects"))]
    for path in paths:
        for alert in list(admin.items(*path)):
            if alert["id"] in missing:
                missing.remove(alert["id"])
                deleted = admin.ask("DELETE", *path, alert["id"])
                show(options, deleted, f"deleted {alert['id']}")
    if missing:
        raise AdministrationError(f"there is no alert '{min(missing)}'")


def _dollars(alert: dict[str, Any]) -> str:
    return shown_dollars(Decimal(alert["threshold_amount"]) / 100)


def _alerts(
    admin: Administration, project: str | None, *, is_organization: bool
) -> Iterator[Alert]:
    """Alerts of a project, of the organization, or all."""
    if project is None:
        for alert in admin.items(_ALERTS):
            yield "", alert
        if is_organization:
            return
    chosen = admin.items("projects") if project is None else [find_project(admin, project)]
    for each in chosen:
        for alert in admin.items("projects", each["id"], _ALERTS):
            yield each["name"], alert
