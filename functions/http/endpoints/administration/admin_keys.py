"""``/v1/organization/admin_api_keys``: keys that administer, and complete nothing."""

from __future__ import annotations

from typing import Annotated, Any

from functions.http.endpoints.administration.common import ERRORS, Admin, page_object
from functions.http.fastapi_import import Query
from functions.http.resource_routing import resource_router
from shared.protocol.openai.administration.keys import AdminKeyObject, NewAdminKeyObject
from shared.protocol.openai.administration.objects import Deleted
from shared.protocol.openai.administration.requests import AdminKeyCreation
from shared.protocol.openai.stored_completions import PageQuery

router = resource_router("admin API keys")
_ALL = "/v1/organization/admin_api_keys"
_ONE = f"{_ALL}/{{key_id}}"


@router.post(_ALL, responses=ERRORS)
async def create_admin_key(body: AdminKeyCreation, admin: Admin) -> NewAdminKeyObject:
    """Create an admin key, which is shown this once."""
    key, secret = await admin.do(
        lambda a, actor: a.keys.issue(actor, body.name, None, body.expires_in_seconds)
    )
    return NewAdminKeyObject(**AdminKeyObject.values(key), value=secret)


@router.get(_ALL, responses=ERRORS)
async def list_admin_keys(query: Annotated[PageQuery, Query()], admin: Admin) -> dict[str, Any]:
    """List admin keys."""
    found, has_more = await admin.do(
        lambda a, _: a.keys.list(
            None, limit=query.limit, after=query.after, descending=query.order == "desc"
        )
    )
    return page_object((AdminKeyObject(**AdminKeyObject.values(key)) for key in found), has_more)


@router.get(_ONE, responses=ERRORS)
async def get_admin_key(key_id: str, admin: Admin) -> AdminKeyObject:
    """Fetch an admin key."""
    key = await admin.do(lambda a, _: a.keys.get(None, key_id))
    return AdminKeyObject(**AdminKeyObject.values(key))


@router.delete(_ONE, responses=ERRORS)
async def delete_admin_key(key_id: str, admin: Admin) -> Deleted:
    """Revoke an admin key: it stops within 30 s everywhere."""
    await admin.do(lambda a, actor: a.keys.revoke(actor, None, key_id))
    return Deleted(id=key_id, object="organization.admin_api_key.deleted")
