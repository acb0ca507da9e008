"""Pages of a project's keys for administrators: make, revoke, limits, budget, name.

Writes are those of the administration API, audit log included. A new key is in the answer to the
form that made it and nowhere else: not in a URL, a log or a cookie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from starlette.responses import Response

from functions.dashboard.budget import Budget
from functions.dashboard.handling import PageRequest
from functions.dashboard.validation import checked
from shared.accounts.accounts import Accounts
from shared.accounts.audit_log import Actor
from shared.accounts.limits import RateLimits
from shared.accounts.types import ApiKey, Project
from shared.protocol.errors import APIError, invalid
from shared.protocol.model_names import is_model_name
from shared.protocol.openai.administration.requests import (
    UNLIMITED,
    AdminKeyCreation,
    KeyCreation,
    ProjectUpdate,
    RateLimitUpdate,
    SpendLimitUpdate,
)

ADMIN_KEYS = "admin-keys"
"""In the place of a project, the keys of administrators."""

_PAGE = 100
_DAY = 86400
_LIMITS = {
    "requests_per_minute": "max_requests_per_1_minute",
    "tokens_per_minute": "max_tokens_per_1_minute",
    "requests_per_day": "max_requests_per_1_day",
}
"""Fields of the form, and the API's names of them."""


@dataclass(frozen=True, slots=True)
class _Keys:
    """What a page shows: a project, or None for administrators' keys, and its keys."""

    project: Project | None
    budget: Budget | None
    keys: Sequence[ApiKey]
    active: frozenset[str]
    """Ids of keys that are accepted."""
    has_more: bool


async def show_project(page: PageRequest) -> Response:
    """A project's keys, limits and budget."""
    return await _show(page, None, None)


async def _show(page: PageRequest, made: ApiKey | None, secret: str | None) -> Response:
    project_id = _project_id(page)
    after = page.request.query_params.get("after") or None
    found = await page.state.stores.in_accounts(lambda a: _read(a, page, project_id, after))
    rate_limits = {}
    if found.project is not None:
        settings = page.state.settings
        served = (*(settings.own if settings.has_own_model else ()), *settings.upstreams)
        rate_limits = {**dict.fromkeys(served, RateLimits()), **found.project.rate_limits}
    place = page.request.path_params["project_id"]
    return await page.render(
        "project_keys.html",
        found=found,
        project=found.project,
        budget=found.budget,
        place=place,
        rate_limits=rate_limits,
        made=made,
        secret=secret,
        done=page.request.query_params.get("done"),
        now=page.state.clock(),
        next_url=page.url(f"keys/{place}", after=found.keys[-1].id) if found.has_more else None,
    )


def _read(
    accounts: Accounts, page: PageRequest, project_id: str | None, after: str | None
) -> _Keys:
    project = budget = None
    now = page.state.clock()
    if project_id is not None:
        project = accounts.projects.get(project_id)
        budget = Budget.of(project, accounts.ledger.counters(project_id), now)
    keys, has_more = accounts.keys.list(project_id, limit=_PAGE, after=after)
    active = frozenset(
        key.id
        for key in keys
        if not key.is_expired(now)
        and (project is None or (project.archived_at is None and accounts.keys.owner(key)))
    )
    return _Keys(project, budget, keys, active, has_more)


async def make_key(page: PageRequest) -> Response:
    """Make a key, and show it this once."""
    project_id, actor = _project_id(page), _actor(page)
    values = {"name": page.form.get("name", "").strip(), "expires_in_seconds": _seconds(page)}
    if not values["name"]:
        raise invalid("A key needs a name, which tells later whose it is.", "name")
    schema: type[KeyCreation | AdminKeyCreation] = KeyCreation if project_id else AdminKeyCreation
    body = checked(schema, values)
    name = str(body.name)

    def make(accounts: Accounts) -> tuple[ApiKey, str]:
        owner = None
        if project_id is not None:
            owner = accounts.service_accounts.create(actor, project_id, name)
        return accounts.keys.issue(actor, name, owner, body.expires_in_seconds)

    made, secret = await page.state.stores.in_accounts(make)
    return await _show(page, made, secret)


async def confirm_revoking(page: PageRequest) -> Response:
    """Ask before a key is revoked."""
    project_id, key_id = _project_id(page), page.request.path_params["key_id"]
    key = await page.state.stores.in_accounts(lambda a: a.keys.get(project_id, key_id))
    place = page.request.path_params["project_id"]
    is_own = key.id == page.viewer.caller.key_id
    return await page.render("revoke_key.html", key=key, place=place, is_own=is_own)


async def revoke(page: PageRequest) -> Response:
    """Revoke a key."""
    project_id, key_id = _project_id(page), page.request.path_params["key_id"]
    actor = _actor(page)
    await page.state.stores.in_accounts(lambda a: a.keys.revoke(actor, project_id, key_id))
    return _done(page, "revoked")


async def set_budget(page: PageRequest) -> Response:
    """Set what the project may spend in a month; an empty field is no limit."""
    project_id, actor = _required_project_id(page), _actor(page)
    cents = _cents(page.form.get("dollars", ""))
    if cents is not None:
        values = {"currency": "USD", "interval": "month", "threshold_amount": cents}
        cents = checked(SpendLimitUpdate, values).threshold_amount
    await page.state.stores.in_accounts(lambda a: a.limit_spending(actor, project_id, cents))
    return _done(page, "budget")


async def set_limits(page: PageRequest) -> Response:
    """Set a model's rate limits; empty fields are no limits."""
    project_id, actor = _required_project_id(page), _actor(page)
    name = page.form.get("model", "")
    if not is_model_name(name):
        raise invalid("Choose the model whose rate limits are set.", "model")
    own = page.state.models.get(name)
    model = name if own is None else own.name
    sent = {field: _number(page.form.get(form, "")) for form, field in _LIMITS.items()}
    body = checked(RateLimitUpdate, sent)
    limits = {form: getattr(body, field) for form, field in _LIMITS.items()}
    changes = {form: None if limit == UNLIMITED else limit for form, limit in limits.items()}
    await page.state.stores.in_accounts(
        lambda a: a.projects.limit_rates(actor, project_id, model, **changes)
    )
    return _done(page, "limits")


async def rename(page: PageRequest) -> Response:
    """Give the project another name."""
    project_id, actor = _required_project_id(page), _actor(page)
    name = checked(ProjectUpdate, {"name": page.form.get("name", "").strip()}).name
    assert name is not None
    await page.state.stores.in_accounts(lambda a: a.projects.rename(actor, project_id, name))
    return _done(page, "renamed")


def _actor(page: PageRequest) -> Actor:
    return Actor(key_id=page.viewer.caller.key_id)


def _project_id(page: PageRequest) -> str | None:
    found: str = page.request.path_params["project_id"]
    return None if found == ADMIN_KEYS else found


def _required_project_id(page: PageRequest) -> str:
    project_id = _project_id(page)
    if project_id is None:
        raise APIError(404, "Admin keys have no limits and no budget.")
    return project_id


def _done(page: PageRequest, what: str) -> Response:
    return page.redirect(f"keys/{page.request.path_params['project_id']}", done=what)


def _seconds(page: PageRequest) -> int | None:
    """Until a new key ends, None for never."""
    days = _number(page.form.get("days", ""))
    return None if days is None else days * _DAY


def _number(text: str) -> int | None:
    """A whole number; None for an empty field."""
    text = text.strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise invalid(f"'{text[:40]}' is no whole number.", None)
    return int(text)


def _cents(text: str) -> int | None:
    """Cents of an amount in dollars; None for an empty field."""
    text = text.strip().removeprefix("$")
    if not text:
        return None
    try:
        cents = Decimal(text) * 100
        if cents == cents.to_integral_value() and 0 <= cents < 10**15:
            return int(cents)
    except ArithmeticError:  # Decimal's, of what is none, or is too large
        pass
    raise invalid(f"'{text[:40]}' is no amount of dollars, such as 25 or 12.50.", "dollars")
