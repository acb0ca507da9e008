"""Keys page: projects, and what the holder of a project's key may know of it.

Administrators change them on the pages of a project, see `functions.dashboard.pages.project_keys`.
The API lets a project's key describe itself and change nothing, and so does this page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from functions.dashboard.budget import Budget
from functions.dashboard.handling import PageRequest
from functions.dashboard.validation import checked
from shared.accounts.accounts import Accounts
from shared.accounts.audit_log import Actor
from shared.accounts.types import Project
from shared.protocol.openai.administration.key_holder import HolderObject
from shared.protocol.openai.administration.requests import ProjectCreation

_PAGE = 50


@dataclass(frozen=True, slots=True)
class _Row:
    project: Project
    budget: Budget


async def show_keys(page: PageRequest) -> Response:
    """Projects for administrators, for others their own key."""
    if page.viewer.is_admin:
        return await _show_projects(page)
    return await _show_own_key(page)


async def _show_projects(page: PageRequest) -> Response:
    after = page.request.query_params.get("after") or None

    def read(accounts: Accounts) -> tuple[Sequence[_Row], bool]:
        found, has_more = accounts.projects.list(limit=_PAGE, after=after, include_archived=True)
        now = page.state.clock()
        return [
            _Row(each, Budget.of(each, accounts.ledger.counters(each.id), now)) for each in found
        ], has_more

    rows, has_more = await page.state.stores.in_accounts(read)
    return await page.render(
        "projects.html",
        rows=rows,
        after=after,
        next_url=page.url("keys", after=rows[-1].project.id) if has_more else None,
    )


async def _show_own_key(page: PageRequest) -> Response:
    """As ``GET /v1/key`` describes it."""
    caller = page.viewer.caller
    if caller.holder is None or caller.holder.project is None:
        return await page.render("own_key.html", shown=None, budget=None, key=None)
    project_id = caller.holder.project.id
    shown = HolderObject.of(caller.key_id, caller.holder)
    project, counters = await page.state.stores.in_accounts(
        lambda a: (a.projects.get(project_id), a.ledger.counters(project_id))
    )
    now = page.state.clock()
    shown.add_counters(project, counters, now)
    budget = Budget.of(project, counters, now)
    return await page.render("own_key.html", shown=shown, budget=budget, key=caller.holder.key)


async def create_project(page: PageRequest) -> Response:
    """Create a project; its page is next."""
    body = checked(ProjectCreation, {"name": page.form.get("name", "").strip()})
    actor = Actor(key_id=page.viewer.caller.key_id)
    project = await page.state.stores.in_accounts(lambda a: a.projects.create(actor, body.name))
    return page.redirect(f"keys/{project.id}", done="created")
