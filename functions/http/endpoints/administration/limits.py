"""Limits of a project: ``…/rate_limits``, ``…/spend_limit``, ``…/service_tier_settings``."""

from __future__ import annotations

import time
from typing import Annotated, Any

from functions.http.dependencies import State
from functions.http.endpoints.administration.common import ERRORS, PROJECT, Admin, page_object
from functions.http.fastapi_import import Query
from functions.http.resource_routing import resource_router
from shared.accounts.accounts import Accounts
from shared.accounts.audit_log import Actor
from shared.accounts.limits import CENT, RateLimits
from shared.accounts.types import UnknownAccountError
from shared.protocol.model_names import is_model_name
from shared.protocol.openai.administration.objects import (
    RATE_LIMIT_PREFIX,
    Enforcement,
    RateLimitObject,
    ServiceTierSettingsObject,
    SpendLimitDeleted,
    SpendLimitObject,
)
from shared.protocol.openai.administration.requests import (
    UNLIMITED,
    RateLimitUpdate,
    ServiceTierUpdate,
    SpendLimitUpdate,
)
from shared.protocol.openai.stored_completions import PageQuery, page_of

router = resource_router("limits")
_RATES = f"{PROJECT}/rate_limits"
_SPENDING = f"{PROJECT}/spend_limit"
_TIERS = f"{PROJECT}/service_tier_settings"


@router.get(_RATES, responses=ERRORS)
async def list_rate_limits(
    project_id: str, query: Annotated[PageQuery, Query()], admin: Admin, state: State
) -> dict[str, Any]:
    """List a project's rate limits: of the models that are served, and others that have some."""
    project = await admin.do(lambda a, _: a.projects.get(project_id))
    settings = state.settings
    own = settings.own if settings.has_own_model else ()
    served = (*own, *settings.upstreams)
    limits = {**dict.fromkeys(served, RateLimits()), **project.rate_limits}
    shown = [RateLimitObject.of(model, each).model_dump() for model, each in limits.items()]
    page, has_more = page_of(shown, query)
    return page_object([RateLimitObject(**each) for each in page], has_more)


@router.post(f"{_RATES}/{{rate_limit_id:path}}", responses=ERRORS)
async def update_rate_limit(
    project_id: str, rate_limit_id: str, body: RateLimitUpdate, admin: Admin, state: State
) -> RateLimitObject:
    """Change a model's rate limits; what is left out stays."""
    sent = {
        "requests_per_minute": body.max_requests_per_1_minute,
        "tokens_per_minute": body.max_tokens_per_1_minute,
        "requests_per_day": body.max_requests_per_1_day,
    }
    changes = {
        name: None if limit == UNLIMITED else limit
        for name, limit in sent.items()
        if limit is not None
    }
    name = rate_limit_id.removeprefix(RATE_LIMIT_PREFIX)
    own = state.models.get(name)
    model = name if own is None else own.name  # others may be those of another function

    def change(accounts: Accounts, actor: Actor) -> RateLimitObject:
        if name == rate_limit_id or not is_model_name(name):
            raise UnknownAccountError("rate limit", rate_limit_id)
        project = accounts.projects.limit_rates(actor, project_id, model, **changes)
        return RateLimitObject.of(model, project.rate_limits.get(model, RateLimits()))

    return await admin.do(change)


@router.get(_TIERS, responses=ERRORS)
async def get_service_tier_settings(project_id: str, admin: Admin) -> ServiceTierSettingsObject:
    """Tell which order in the queue a project may ask for."""
    project = await admin.do(lambda a, _: a.projects.get(project_id))
    return ServiceTierSettingsObject.of(project.service_tiers)


@router.post(_TIERS, responses=ERRORS)
async def update_service_tier_settings(
    project_id: str, body: ServiceTierUpdate, admin: Admin
) -> ServiceTierSettingsObject:
    """Say which order in the queue a project may ask for."""
    changes: dict[str, Any] = {}
    if body.default is not None:
        changes["default"] = body.default
    if body.enabled_tiers is not None:
        changes["enabled"] = body.enabled_tiers
    project = await admin.do(
        lambda a, actor: a.projects.set_service_tiers(actor, project_id, **changes)
    )
    return ServiceTierSettingsObject.of(project.service_tiers)


@router.get(_SPENDING, responses=ERRORS)
async def get_spend_limit(project_id: str, admin: Admin) -> SpendLimitObject:
    """Tell what a project may spend in a month."""
    return await admin.do(lambda a, _: _spend_limit(a, project_id))


@router.post(_SPENDING, responses=ERRORS)
async def update_spend_limit(
    project_id: str, body: SpendLimitUpdate, admin: Admin
) -> SpendLimitObject:
    """Limit what a project may spend in a month: requests that could go beyond it are refused."""

    def change(accounts: Accounts, actor: Actor) -> SpendLimitObject:
        accounts.limit_spending(actor, project_id, body.threshold_amount)
        return _spend_limit(accounts, project_id)

    return await admin.do(change)


@router.delete(_SPENDING, responses=ERRORS)
async def delete_spend_limit(project_id: str, admin: Admin) -> SpendLimitDeleted:
    """Let a project spend without a limit."""
    await admin.do(lambda a, actor: a.limit_spending(actor, project_id, None))
    return SpendLimitDeleted(deleted=True)


def _spend_limit(accounts: Accounts, project_id: str) -> SpendLimitObject:
    """A project's limit, and whether it is reached; raises `UnknownAccountError` without one."""
    limit = accounts.projects.get(project_id).spend_limit
    if limit is None:
        raise UnknownAccountError("spend limit of project", project_id)
    spent = accounts.ledger.counters(project_id).spent_in_month(time.time())
    is_reached = spent >= limit * CENT
    status = Enforcement(status="enforcing" if is_reached else "inactive")
    return SpendLimitObject(threshold_amount=limit, enforcement=status)
