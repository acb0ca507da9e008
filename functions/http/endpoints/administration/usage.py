"""``/v1/organization/usage/completions`` and ``/v1/organization/costs``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from functions.http.dependencies import State
from functions.http.endpoints.administration.common import ERRORS, Admin
from functions.http.fastapi_import import Query
from functions.http.resource_routing import resource_router
from shared.accounts.accounts import Accounts
from shared.accounts.ledger.report import ReportQuery, Row, report
from shared.protocol.openai.administration.usage import (
    CostsQuery,
    UsageQuery,
    buckets_page,
    cost_results,
    usage_results,
)

router = resource_router("usage")


@router.get("/v1/organization/usage/completions", responses=ERRORS)
async def list_usage(
    query: Annotated[UsageQuery, Query()], admin: Admin, state: State
) -> dict[str, Any]:
    """Sum up requests and tokens in minutes, hours or days."""
    asked, end = query.report(state.clock())
    found = await admin.do(lambda a, _: _report(a, asked))
    results = [(begins, usage_results(rows, query)) for begins, rows in found]
    return buckets_page(results, asked, end)


@router.get("/v1/organization/costs", responses=ERRORS)
async def list_costs(
    query: Annotated[CostsQuery, Query()], admin: Admin, state: State
) -> dict[str, Any]:
    """Sum up costs in days."""
    asked, end = query.report(state.clock())
    found = await admin.do(lambda a, _: _report(a, asked))
    results = [(begins, cost_results(rows, query)) for begins, rows in found]
    return buckets_page(results, asked, end)


def _report(accounts: Accounts, query: ReportQuery) -> Sequence[tuple[int, list[Row]]]:
    """The report over the projects that are asked for, or all."""
    project_ids = query.filters.get("project_id") or [
        project.id for project in accounts.projects.all(include_archived=True)
    ]
    return list(report(accounts.ledger, project_ids, query))
