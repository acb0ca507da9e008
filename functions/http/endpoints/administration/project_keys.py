"""``…/api_keys``: a project's keys, without their secrets."""

from __future__ import annotations

from typing import Annotated, Any

from functions.http.endpoints.administration.common import ERRORS, PROJECT, Admin, page_object
from functions.http.fastapi_import import Query
from functions.http.resource_routing import resource_router
from shared.accounts.accounts import Accounts
from shared.accounts.audit_log import Actor
from shared.protocol.openai.administration.keys import ProjectKeyObject
from shared.protocol.openai.administration.objects import Deleted
from shared.protocol.openai.administration.requests import KeysQuery, KeyUpdate

router = resource_router("API keys")
_ALL = f"{PROJECT}/api_keys"
_ONE = f"{_ALL}/{{api_key_id}}"


@router.get(_ALL, responses=ERRORS)
async def list_keys(
    project_id: str, query: Annotated[KeysQuery, Query()], admin: Admin
) -> dict[str, Any]:
    """List a project's keys, the oldest first."""

    def page(accounts: Accounts, _: Actor) -> dict[str, Any]:
        accounts.projects.get(project_id)
        access = query.owner_project_access
        found: list[ProjectKeyObject] = []
        after, has_more = query.after, True
        while has_more and len(found) <= query.limit:
            keys, has_more = accounts.keys.list(project_id, limit=query.limit, after=after)
            shown = [ProjectKeyObject.of(key, accounts.keys.owner(key)) for key in keys]
            found += [key for key in shown if access in ("any", key.owner_project_access)]
            after = keys[-1].id if keys else None
        return page_object(found[: query.limit], len(found) > query.limit)

    return await admin.do(page)


@router.get(_ONE, responses=ERRORS)
async def get_key(project_id: str, api_key_id: str, admin: Admin) -> ProjectKeyObject:
    """Fetch a key."""

    def get(accounts: Accounts, _: Actor) -> ProjectKeyObject:
        key = accounts.keys.get(project_id, api_key_id)
        return ProjectKeyObject.of(key, accounts.keys.owner(key))

    return await admin.do(get)


@router.post(_ONE, responses=ERRORS)
async def update_key(
    project_id: str, api_key_id: str, body: KeyUpdate, admin: Admin
) -> ProjectKeyObject:
    """Let a key end some time from now."""
    seconds = body.expires_in_seconds
    if seconds is not None:
        await admin.do(lambda a, actor: a.keys.expire(actor, project_id, api_key_id, seconds))
    return await get_key(project_id, api_key_id, admin)


@router.delete(_ONE, responses=ERRORS)
async def delete_key(project_id: str, api_key_id: str, admin: Admin) -> Deleted:
    """Revoke a key: it stops within 30 s everywhere."""
    await admin.do(lambda a, actor: a.keys.revoke(actor, project_id, api_key_id))
    return Deleted(id=api_key_id, object="organization.project.api_key.deleted")
