"""``GET /v1/key``: what a key is and what it may use, for its holder."""

from __future__ import annotations

from functions.http.openapi.error_responses import error_responses
from functions.http.routing import resource_router
from shared.protocol.openai.administration.objects import HolderObject
from shared.runtime.request_context import request_context

router = resource_router("API keys")


@router.get("/v1/key", responses=error_responses(401))
async def get_own_key() -> HolderObject:
    """Describe the key that the request is sent with."""
    caller = request_context().caller
    return HolderObject.of(caller.key_id, caller.holder)
