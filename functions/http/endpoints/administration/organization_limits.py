"""``/v1/organization/spend_limit``: what all projects together may spend in a month."""

from __future__ import annotations

from functions.http.endpoints.administration.common import ERRORS, Admin
from functions.http.resource_routing import resource_router
from shared.accounts.accounts import Accounts
from shared.accounts.audit_log import Actor
from shared.accounts.limits import CENT
from shared.accounts.types import UnknownAccountError
from shared.protocol.openai.administration.objects import Enforcement
from shared.protocol.openai.administration.requests import SpendLimitUpdate
from shared.protocol.openai.administration.spending import (
    OrganizationSpendLimitDeleted,
    OrganizationSpendLimitObject,
)

router = resource_router("limits")
_PATH = "/v1/organization/spend_limit"


@router.get(_PATH, responses=ERRORS)
async def get_organization_spend_limit(admin: Admin) -> OrganizationSpendLimitObject:
    """Tell what all projects together may spend in a month."""
    return await admin.do(lambda a, _: _spend_limit(a))


@router.post(_PATH, responses=ERRORS)
async def update_organization_spend_limit(
    body: SpendLimitUpdate, admin: Admin
) -> OrganizationSpendLimitObject:
    """Limit what all projects together may spend in a month."""

    def change(accounts: Accounts, actor: Actor) -> OrganizationSpendLimitObject:
        accounts.organization.limit_spending(actor, body.threshold_amount)
        return _spend_limit(accounts)

    return await admin.do(change)


@router.delete(_PATH, responses=ERRORS)
async def delete_organization_spend_limit(admin: Admin) -> OrganizationSpendLimitDeleted:
    """Let all projects together spend without a limit."""
    await admin.do(lambda a, actor: a.organization.limit_spending(actor, None))
    return OrganizationSpendLimitDeleted(deleted=True)


def _spend_limit(accounts: Accounts) -> OrganizationSpendLimitObject:
    """The limit, and whether it is reached; raises `UnknownAccountError` without one."""
    limit = accounts.organization.get().spend_limit
    if limit is None:
        raise UnknownAccountError("spend limit of", "the organization")
    is_reached = accounts.organization_spending.sum_up() >= limit * CENT
    status = Enforcement(status="enforcing" if is_reached else "inactive")
    return OrganizationSpendLimitObject(threshold_amount=limit, enforcement=status)
