"""Accounts of a deployment: projects, service accounts, keys and the audit log in one store."""

from __future__ import annotations

import time
from pathlib import Path

from shared.accounts.alerts.deliveries import Deliveries
from shared.accounts.api_keys import ApiKeys
from shared.accounts.audit_log import Actor, AuditLog
from shared.accounts.ledger.ledger import Ledger
from shared.accounts.limits import CENT
from shared.accounts.organization import OrganizationLimits, OrganizationSpending
from shared.accounts.projects import Projects, ServiceAccounts
from shared.accounts.records import Records
from shared.accounts.shared_secret import shared_secret
from shared.accounts.spend_alerts import SpendAlerts
from shared.accounts.types import Clock, Project
from shared.storage.location import check_location, sqlite_path

_DATABASE = "accounts.sqlite3"


class Accounts:
    """All that is known of accounts."""

    def __init__(
        self, records: Records, clock: Clock = time.time, *, ledger_records: Records | None = None
    ) -> None:
        """``ledger_records``: the same records for the ledger, where those are faster."""
        self._records = records
        self._ledger_records = ledger_records or records
        self.audit_log = AuditLog(records, clock)
        self.projects = Projects(records, self.audit_log, clock)
        self.service_accounts = ServiceAccounts(records, self.projects, self.audit_log, clock)
        self.organization = OrganizationLimits(records, self.audit_log)
        self.spend_alerts = SpendAlerts(records, self.audit_log, clock)
        self.alert_deliveries = Deliveries(records, clock)
        self.ledger = Ledger(self._ledger_records, clock)
        self.organization_spending = OrganizationSpending(self._ledger_records, self.ledger, clock)
        self.keys = ApiKeys(records, self.service_accounts, self.audit_log, clock)

    def secret(self, name: str) -> bytes:
        """Random bytes of the deployment's own, made when first asked for; raises `StoreError`."""
        return shared_secret(self._records, name)

    def limit_spending(self, actor: Actor, project_id: str, cents: int | None) -> Project:
        """Limit what a project may spend in a month, at once; None for no limit."""
        project = self.projects.limit_spending(actor, project_id, cents)
        if cents is not None:
            self.ledger.lower_budget(project_id, cents * CENT)
        return project

    def initialize(self) -> None:
        """Create what the store needs; raises `StoreError`."""
        self._records.initialize()

    def warm_up(self) -> None:
        """Load what the first call needs, without making one; raises `StoreError`."""
        self._records.warm_up()

    def close(self) -> None:
        """Let go of connections."""
        self._records.close()
        self._ledger_records.close()


def open_accounts(
    location: str, directory: Path | None = None, clock: Clock = time.time
) -> Accounts:
    """The accounts beside the store of completions at ``location``; raises `ValueError` for none.

    Nothing is created or connected to yet.
    """
    scheme, _, rest = check_location(location).partition(":")
    if scheme == "dynamodb":
        from shared.accounts.dynamodb_records import DynamoDBRecords

        return Accounts(DynamoDBRecords(rest.split(",")[0]), clock)
    from shared.accounts.sqlite_records import SQLiteRecords

    path = sqlite_path(location, directory)
    if path is None:
        raise ValueError("accounts need a store: with 'none' there is no place for them")
    path = path.with_name(_DATABASE)
    return Accounts(
        SQLiteRecords(path),
        clock,
        ledger_records=SQLiteRecords(path, survives_power_loss=False),
    )
