"""Tenants whose completions a viewer may see: a project its own, an administrator each one's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.accounts.types import Project

if TYPE_CHECKING:
    from functions.dashboard.handling import PageRequest
    from shared.accounts.accounts import Accounts

PARAMETER = "project"

_MAX_PROJECTS = 500
_MAX_KEYS = 100
_LONGEST_NAME = 256
"""Characters."""


@dataclass(frozen=True, slots=True)
class TenantChoice:
    """Whose completions a page shows.

    - ``tenant``: whose; None where there is no tenant yet.
    - ``parameter``: what names it in URLs; None where there is nothing to choose.
    - ``choices``: names by tenant, for an administrator.
    - ``keys``: names by key id, of the tenant's keys.
    """

    tenant: str | None
    parameter: str | None = None
    choices: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)


def tenant_of(page: PageRequest) -> str:
    """Whose completion a page shows that is about one; raises nothing: a wrong name has none."""
    if not page.viewer.is_admin:
        return page.viewer.caller.tenant
    return page.request.query_params.get(PARAMETER, "")[:_LONGEST_NAME]


async def tenant_choice(page: PageRequest) -> TenantChoice:
    """Whose completions a list shows, and whose it could; raises `StoreError`."""
    viewer = page.viewer
    if not viewer.is_admin:
        tenant = viewer.caller.tenant
        if viewer.project is None:
            return TenantChoice(tenant)
        return TenantChoice(
            tenant, keys=await page.state.stores.in_accounts(lambda a: _keys(a, tenant))
        )
    asked = page.request.query_params.get(PARAMETER, "")[:_LONGEST_NAME]
    configured = page.state.keys.tenants

    def look_up(accounts: Accounts) -> TenantChoice:
        projects, _ = accounts.projects.list(limit=_MAX_PROJECTS, include_archived=True)
        choices = {project.id: _name(project) for project in projects}
        choices |= {tenant: f"{tenant} (key in the settings)" for tenant in configured}
        if asked and asked not in choices:
            choices[asked] = asked
        tenant = asked or next(iter(choices), None)
        keys = {} if tenant is None or tenant in configured else _keys(accounts, tenant)
        return TenantChoice(tenant, tenant, choices, keys)

    return await page.state.stores.in_accounts(look_up)


def _keys(accounts: Accounts, project_id: str) -> dict[str, str]:
    keys, _ = accounts.keys.list(project_id, limit=_MAX_KEYS, descending=True)
    return {key.id: key.name for key in keys}


def _name(project: Project) -> str:
    return project.name if project.archived_at is None else f"{project.name} (archived)"
