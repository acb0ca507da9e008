"""``GET /v1/key``: what a key is and what it may use, for its holder."""

from __future__ import annotations

from functions.http.dependencies import State
from functions.http.endpoints.administration.common import Administration
from functions.http.openapi.error_responses import error_responses
from functions.http.resource_routing import resource_router
from shared.protocol.openai.administration.key_holder import HolderObject
from shared.runtime.request_context import request_context

router = resource_router("API keys")


@router.get("/v1/key", responses=error_responses(401, 503))
async def get_own_key(state: State) -> HolderObject:
    """Describe the key that the request is sent with, and what it may still use."""
    caller = request_context().caller
    shown = HolderObject.of(caller.key_id, caller.holder)
    project = caller.holder.project if caller.holder is not None else None
    if project is not None:
        project_id = project.id
        current, counters = await Administration(state).do(
            lambda a, _: (a.projects.get(project_id), a.ledger.counters(project_id))
        )
        shown.add_counters(current, counters, state.clock())
    return shown
