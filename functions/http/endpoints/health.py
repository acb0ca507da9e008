"""``GET /health``: readiness, as FastAPI serves and describes it."""

from __future__ import annotations

from functions.http.dependencies import State
from functions.http.endpoints.readiness import readiness
from functions.http.openapi.error_responses import error_responses
from functions.http.resource_routing import resource_router
from shared.protocol.responses import Health

router = resource_router("operations")


@router.get("/v1/health", include_in_schema=False)
@router.get("/health", responses=error_responses(503))
async def get_health(state: State) -> Health:
    """Tell whether requests are served.

    200, or 503 while the model loads (with the progress), while the server shuts down, and when
    the engine has died or has been stuck for minutes.
    """
    return readiness(state)
