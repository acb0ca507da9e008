"""Accounts in the terminal: ``pilotlight projects|keys|limits|alerts|usage|costs``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from functions.cli.accounts.administration import (
    Administration,
    AdministrationError,
    administration,
)
from functions.cli.accounts.alerts import create_alert, delete_alerts, list_alerts
from functions.cli.accounts.keys import create_key, list_keys, revoke_keys
from functions.cli.accounts.limits import limits
from functions.cli.accounts.projects import (
    archive_project,
    create_project,
    limit_models,
    list_projects,
    rename_project,
)
from functions.cli.accounts.reports import costs, usage
from functions.cli.interruption import INTERRUPTED, interruptible
from functions.cli.table import safe
from functions.cli.usage_error import UsageError
from shared.config.configuration import flag
from shared.config.settings import Settings


def accounts(settings: Settings, options: argparse.Namespace) -> int:
    """Run the command and action that ``options`` name; returns the exit status."""
    actions: dict[tuple[str, str | None], Callable[[Administration, argparse.Namespace], None]] = {
        ("projects", "create"): create_project,
        ("projects", "list"): list_projects,
        ("projects", "rename"): rename_project,
        ("projects", "archive"): archive_project,
        ("projects", "models"): limit_models,
        ("keys", "create"): create_key,
        ("keys", "list"): list_keys,
        ("keys", "revoke"): revoke_keys,
        ("limits", None): limits,
        ("alerts", "create"): create_alert,
        ("alerts", "list"): list_alerts,
        ("alerts", "delete"): delete_alerts,
        ("usage", None): usage,
        ("costs", None): costs,
    }
    try:
        with interruptible():
            if options.url is not None:
                for name in ("store", "data_dir"):
                    if name in options:
                        message = f"with --url it is the server that has the store: no {flag(name)}"
                        raise UsageError(message)
            with administration(settings, options.url) as admin:
                actions[options.command, getattr(options, "action", None)](admin, options)
    except AdministrationError as error:
        print(f"pilotlight: {safe(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0
