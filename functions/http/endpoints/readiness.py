"""Readiness: what ``GET /health`` tells, and its routes without FastAPI.

A server is asked for it while it starts, when FastAPI may not be imported yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from shared.protocol.errors import engine_stalled
from shared.protocol.responses import Health

if TYPE_CHECKING:
    from starlette.requests import Request

    from shared.runtime.state import ServerState

PATHS = ("/health", "/v1/health")


def readiness(state: ServerState) -> Health:
    """That requests are served; raises `APIError` where they are not."""
    if not state.has_model:
        return Health()
    if any(served.engine.is_stalled for served in state.ready_models()):
        raise engine_stalled()
    return Health(model=state.models.default.name)


def routes(state: ServerState) -> list[Route]:
    """The endpoint, under both of its names."""

    async def get_health(_: Request) -> Response:
        """Tell whether requests are served."""
        return Response(readiness(state).model_dump_json(), media_type="application/json")

    return [Route(path, get_health, methods=["GET"]) for path in PATHS]
