"""``pilotlight limits``: rate limits and monthly budgets of projects and the organization."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from functions.cli.accounts.administration import (
    Administration,
    AdministrationError,
    MissingError,
)
from functions.cli.accounts.money import dollars, shown_dollars
from functions.cli.accounts.options import NONE
from functions.cli.accounts.output import print_json
from functions.cli.accounts.projects import find_project
from functions.cli.table import print_rows, safe
from functions.cli.usage_error import UsageError
from shared.protocol.openai.administration.objects import RATE_LIMIT_PREFIX
from shared.protocol.openai.administration.requests import UNLIMITED

_FIELDS = {
    "requests_per_minute": "max_requests_per_1_minute",
    "tokens_per_minute": "max_tokens_per_1_minute",
    "requests_per_day": "max_requests_per_1_day",
}
"""Options, and the API's names of them."""
_DAYS = 31


def limits(admin: Administration, options: argparse.Namespace) -> None:
    """Set what ``options`` say of the limits of a project or of the organization; show them."""
    if options.organization:
        _organization_limits(admin, options)
        return
    if options.project is None:
        raise UsageError("whose limits? Name a project, or say --organization")
    project = find_project(admin, options.project)
    path = ("projects", project["id"])
    changed = _set_rate_limits(admin, path, options)
    model = options.of_model if changed is None else changed["model"]
    _set_budget(admin, path, options.budget)

    rates = [
        rate
        for rate in admin.items(*path, "rate_limits")
        if model is None or rate["model"] == model
    ]
    if not rates and changed is not None:  # it has none any more
        rates = [changed]
    if not rates:
        raise AdministrationError(
            f"project '{project['name']}' has no rate limits for a model '{model}'"
        )
    month = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    spent = _spent(admin, project["id"], month)
    budget = _budget(admin, path)
    if options.json:
        print_json(
            {
                "project_id": project["id"],
                "rate_limits": rates,
                "spend_limit": budget,
                "spent_this_month": {"value": float(spent), "currency": "usd"},
            }
        )
        return
    print(safe(f"project '{project['name']}' ({project['id']})\n"))
    print_rows(
        ("model", "requests a minute", "tokens a minute", "requests a day"),
        [(rate["model"], *(_shown(rate[field]) for field in _FIELDS.values())) for rate in rates],
        numbers=len(_FIELDS),
    )
    print(f"\nbudget: {_budget_words(budget, spent, month)}")


def _organization_limits(admin: Administration, options: argparse.Namespace) -> None:
    """Likewise, of all projects together, which have a budget only."""
    if options.project is not None:
        raise UsageError("either a project or --organization, not both")
    if options.of_model or any(getattr(options, option) is not None for option in _FIELDS):
        raise UsageError("rate limits are a project's own: no --organization")
    _set_budget(admin, (), options.budget)
    month = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    spent = _spent(admin, None, month)
    budget = _budget(admin, ())
    if options.json:
        spending = {"value": float(spent), "currency": "usd"}
        print_json({"spend_limit": budget, "spent_this_month": spending})
        return
    print(f"all projects together\n\nbudget: {_budget_words(budget, spent, month)}")


def _set_rate_limits(
    admin: Administration, path: Sequence[str], options: argparse.Namespace
) -> dict[str, Any] | None:
    """Set the rate limits that are given; what they are then, None where nothing is."""
    given = {
        field: UNLIMITED if limit is NONE else limit
        for option, field in _FIELDS.items()
        if (limit := getattr(options, option)) is not None
    }
    if not given:
        return None
    known = [rate["model"] for rate in admin.items(*path, "rate_limits")]
    model = options.of_model or known[0]  # the one that is served
    limit_id = f"{RATE_LIMIT_PREFIX}{model}"
    set_to: dict[str, Any] = admin.ask("POST", *path, "rate_limits", limit_id, body=given)
    if set_to["model"] not in known:
        print(
            safe(f"pilotlight: note: it is '{known[0]}' that is served here, not '{model}'"),
            file=sys.stderr,
        )
    return set_to


def _set_budget(admin: Administration, path: Sequence[str], cents: Any) -> None:
    if cents is NONE:
        admin.ask("DELETE", *path, "spend_limit")
    elif cents is not None:
        body = {"currency": "USD", "interval": "month", "threshold_amount": cents}
        admin.ask("POST", *path, "spend_limit", body=body)


def _budget(admin: Administration, path: Sequence[str]) -> dict[str, Any] | None:
    """The spend limit, None without one."""
    try:
        found: dict[str, Any] = admin.ask("GET", *path, "spend_limit")
    except MissingError:
        return None
    return found


def _spent(admin: Administration, project_id: str | None, month: datetime) -> Decimal:
    """What the project, or all together, have spent since the month began."""
    asked = {
        "start_time": int(month.timestamp()),
        "limit": _DAYS,
        **({"project_ids[]": [project_id]} if project_id is not None else {}),
    }
    buckets = admin.buckets("costs", **asked)
    return sum(
        (dollars(result["amount"]) for bucket in buckets for result in bucket["results"]),
        start=Decimal(0),
    )


def _budget_words(budget: dict[str, Any] | None, spent: Decimal, month: datetime) -> str:
    words = f"${shown_dollars(spent)} spent in {month:%Y-%m} (UTC)"
    if budget is None:
        return f"none; {words}"
    limit = shown_dollars(Decimal(budget["threshold_amount"]) / 100)
    if budget["enforcement"]["status"] == "enforcing":
        words += "; it is reached, and requests are refused until the month ends"
    return f"${limit} a month; {words}"


def _shown(limit: int) -> str:
    return "none" if limit == UNLIMITED else str(limit)
