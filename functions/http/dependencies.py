"""FastAPI dependencies of the resources' endpoints: the server's state, and the caller's tenant."""

from __future__ import annotations

from typing import Annotated

from functions.http.fastapi_import import Depends, Request
from shared.runtime.request_context import request_context
from shared.runtime.state import ServerState


# Both are coroutines: FastAPI runs plain functions on threads.
async def _state(request: Request) -> ServerState:
    state: ServerState = request.app.state.server
    return state


async def _tenant() -> str:
    return request_context().caller.tenant


State = Annotated[ServerState, Depends(_state)]
"""The server's state."""
Tenant = Annotated[str, Depends(_tenant)]
"""Owner of the request's API key: whose completions there are for it."""
