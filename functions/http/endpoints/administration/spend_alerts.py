"""``…/spend_alerts`` of projects and of the organization: who is told of spending, and when."""

from __future__ import annotations

from typing import Annotated, Any

from functions.http.endpoints.administration.common import ERRORS, PROJECT, Admin, page_object
from functions.http.fastapi_import import Query
from functions.http.resource_routing import resource_router
from shared.protocol.openai.administration.objects import Deleted
from shared.protocol.openai.administration.spending import SpendAlertBody, SpendAlertObject
from shared.protocol.openai.stored_completions import PageQuery, page_of

router = resource_router("limits")
_OF_PROJECT = f"{PROJECT}/spend_alerts"
_OF_ORGANIZATION = "/v1/organization/spend_alerts"
_ONE = "{alert_id}"


@router.post(_OF_PROJECT, responses=ERRORS)
async def create_project_spend_alert(
    project_id: str, body: SpendAlertBody, admin: Admin
) -> SpendAlertObject:
    """Have a message sent, once a month, when a project has spent so much."""
    return await _create(admin, project_id, body)


@router.get(_OF_PROJECT, responses=ERRORS)
async def list_project_spend_alerts(
    project_id: str, query: Annotated[PageQuery, Query()], admin: Admin
) -> dict[str, Any]:
    """List a project's spend alerts."""
    return await _list(admin, project_id, query)


@router.get(f"{_OF_PROJECT}/{_ONE}", responses=ERRORS)
async def get_project_spend_alert(project_id: str, alert_id: str, admin: Admin) -> SpendAlertObject:
    """Fetch a project's spend alert."""
    return await _get(admin, project_id, alert_id)


@router.post(f"{_OF_PROJECT}/{_ONE}", responses=ERRORS)
async def update_project_spend_alert(
    project_id: str, alert_id: str, body: SpendAlertBody, admin: Admin
) -> SpendAlertObject:
    """Change a project's spend alert."""
    return await _update(admin, project_id, alert_id, body)


@router.delete(f"{_OF_PROJECT}/{_ONE}", responses=ERRORS)
async def delete_project_spend_alert(project_id: str, alert_id: str, admin: Admin) -> Deleted:
    """Delete a project's spend alert."""
    await admin.do(lambda a, actor: a.spend_alerts.delete(actor, project_id, alert_id))
    return Deleted(id=alert_id, object="project.spend_alert.deleted")


@router.post(_OF_ORGANIZATION, responses=ERRORS)
async def create_organization_spend_alert(body: SpendAlertBody, admin: Admin) -> SpendAlertObject:
    """Have a message sent, once a month, when all projects together have spent so much."""
    return await _create(admin, None, body)


@router.get(_OF_ORGANIZATION, responses=ERRORS)
async def list_organization_spend_alerts(
    query: Annotated[PageQuery, Query()], admin: Admin
) -> dict[str, Any]:
    """List the organization's spend alerts."""
    return await _list(admin, None, query)


@router.get(f"{_OF_ORGANIZATION}/{_ONE}", responses=ERRORS)
async def get_organization_spend_alert(alert_id: str, admin: Admin) -> SpendAlertObject:
    """Fetch a spend alert of the organization."""
    return await _get(admin, None, alert_id)


@router.post(f"{_OF_ORGANIZATION}/{_ONE}", responses=ERRORS)
async def update_organization_spend_alert(
    alert_id: str, body: SpendAlertBody, admin: Admin
) -> SpendAlertObject:
    """Change a spend alert of the organization."""
    return await _update(admin, None, alert_id, body)


@router.delete(f"{_OF_ORGANIZATION}/{_ONE}", responses=ERRORS)
async def delete_organization_spend_alert(alert_id: str, admin: Admin) -> Deleted:
    """Delete a spend alert of the organization."""
    await admin.do(lambda a, actor: a.spend_alerts.delete(actor, None, alert_id))
    return Deleted(id=alert_id, object="organization.spend_alert.deleted")


async def _create(admin: Admin, project_id: str | None, body: SpendAlertBody) -> SpendAlertObject:
    channel = body.notification_channel
    alert = await admin.do(
        lambda a, actor: a.spend_alerts.create(
            actor, project_id, body.threshold_amount, channel.recipients, channel.subject_prefix
        )
    )
    return SpendAlertObject.of(alert, project_id)


async def _list(admin: Admin, project_id: str | None, query: PageQuery) -> dict[str, Any]:
    alerts = await admin.do(lambda a, _: a.spend_alerts.list(project_id))
    shown = {alert.id: SpendAlertObject.of(alert, project_id) for alert in alerts}
    page, has_more = page_of([{"id": alert_id} for alert_id in shown], query)
    return page_object([shown[each["id"]] for each in page], has_more)


async def _get(admin: Admin, project_id: str | None, alert_id: str) -> SpendAlertObject:
    alert = await admin.do(lambda a, _: a.spend_alerts.get(project_id, alert_id))
    return SpendAlertObject.of(alert, project_id)


async def _update(
    admin: Admin, project_id: str | None, alert_id: str, body: SpendAlertBody
) -> SpendAlertObject:
    channel = body.notification_channel
    alert = await admin.do(
        lambda a, actor: a.spend_alerts.update(
            actor,
            project_id,
            alert_id,
            body.threshold_amount,
            recipients=tuple(channel.recipients),
            subject_prefix=channel.subject_prefix,
        )
    )
    return SpendAlertObject.of(alert, project_id)
