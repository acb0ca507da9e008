"""``GET /v1/organization/audit_logs``: who changed which key or project, when."""

from __future__ import annotations

from typing import Annotated, Any

from functions.http.endpoints.administration.common import ERRORS, Admin
from functions.http.fastapi_import import Query
from functions.http.resource_routing import resource_router
from shared.accounts.audit_log import AuditQuery
from shared.protocol.openai.administration.objects import audit_log_object
from shared.protocol.openai.administration.requests import AuditLogQuery

router = resource_router("audit log")


@router.get("/v1/organization/audit_logs", responses=ERRORS)
async def list_audit_logs(query: Annotated[AuditLogQuery, Query()], admin: Admin) -> dict[str, Any]:
    """List changes to accounts, the newest first."""
    since = [*([query.gte] if query.gte is not None else []), *_after(query.gt)]
    until = [*([query.lt] if query.lt is not None else []), *_after(query.lte)]
    asked = AuditQuery(
        limit=query.limit,
        after=query.after,
        types=query.event_types,
        project_ids=query.project_ids,
        actor_ids=query.actor_ids,
        resource_ids=query.resource_ids,
        since=max(since, default=None),
        until=min(until, default=None),
    )
    return audit_log_object(await admin.do(lambda a, _: a.audit_log.list(asked)))


def _after(second: int | None) -> list[int]:
    """The second behind one, as bounds of whole seconds have it."""
    return [] if second is None else [second + 1]
