"""``…/service_accounts``: owners of a project's keys, and the keys that are made for them."""

from __future__ import annotations

from typing import Annotated, Any

from functions.http.endpoints.administration.common import ERRORS, PROJECT, Admin, page_object
from functions.http.fastapi_import import Query
from functions.http.resource_routing import resource_router
from shared.accounts.accounts import Accounts
from shared.accounts.audit_log import Actor
from shared.protocol.openai.administration.keys import (
    NewKeyObject,
    NewServiceAccountObject,
    ServiceAccountObject,
)
from shared.protocol.openai.administration.objects import Deleted
from shared.protocol.openai.administration.requests import (
    KeyCreation,
    ServiceAccountCreation,
    ServiceAccountUpdate,
)
from shared.protocol.openai.stored_completions import PageQuery

router = resource_router("service accounts")
_ALL = f"{PROJECT}/service_accounts"
_ONE = f"{_ALL}/{{service_account_id}}"


@router.post(_ALL, responses=ERRORS)
async def create_service_account(
    project_id: str, body: ServiceAccountCreation, admin: Admin
) -> NewServiceAccountObject:
    """Create a service account with a key, which is shown this once."""

    def create(accounts: Accounts, actor: Actor) -> NewServiceAccountObject:
        account = accounts.service_accounts.create(
            actor,
            project_id,
            body.name,
            role="none" if body.create_service_account_only else "member",
        )
        new = None
        if not body.create_service_account_only:
            issued = accounts.keys.issue(actor, body.name, account, body.expires_in_seconds)
            new = NewKeyObject.of(*issued)
        return NewServiceAccountObject(**ServiceAccountObject.of(account).model_dump(), api_key=new)

    return await admin.do(create)


@router.get(_ALL, responses=ERRORS)
async def list_service_accounts(
    project_id: str, query: Annotated[PageQuery, Query()], admin: Admin
) -> dict[str, Any]:
    """List a project's service accounts, the oldest first."""
    found, has_more = await admin.do(
        lambda a, _: a.service_accounts.list(project_id, limit=query.limit, after=query.after)
    )
    return page_object(map(ServiceAccountObject.of, found), has_more)


@router.get(_ONE, responses=ERRORS)
async def get_service_account(
    project_id: str, service_account_id: str, admin: Admin
) -> ServiceAccountObject:
    """Fetch a service account."""
    return ServiceAccountObject.of(
        await admin.do(lambda a, _: a.service_accounts.get(project_id, service_account_id))
    )


@router.post(_ONE, responses=ERRORS)
async def update_service_account(
    project_id: str, service_account_id: str, body: ServiceAccountUpdate, admin: Admin
) -> ServiceAccountObject:
    """Change a service account's name or role."""
    values = {"name": body.name, "role": body.role}
    given = {name: value for name, value in values.items() if value is not None}
    return ServiceAccountObject.of(
        await admin.do(
            lambda a, actor: a.service_accounts.update(
                actor, project_id, service_account_id, **given
            )
        )
    )


@router.delete(_ONE, responses=ERRORS)
async def delete_service_account(project_id: str, service_account_id: str, admin: Admin) -> Deleted:
    """Delete a service account: its keys stop within 30 s."""
    await admin.do(
        lambda a, actor: a.service_accounts.delete(actor, project_id, service_account_id)
    )
    deleted = "organization.project.service_account.deleted"
    return Deleted(id=service_account_id, object=deleted)


@router.post(f"{_ONE}/api_keys", responses=ERRORS)
async def create_key(
    project_id: str, service_account_id: str, body: KeyCreation, admin: Admin
) -> NewKeyObject:
    """Create another key of a service account, which is shown this once."""

    def create(accounts: Accounts, actor: Actor) -> NewKeyObject:
        owner = accounts.service_accounts.get(project_id, service_account_id)
        name = body.name or owner.name
        return NewKeyObject.of(*accounts.keys.issue(actor, name, owner, body.expires_in_seconds))

    return await admin.do(create)
