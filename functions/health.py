"""``GET /health`` and ``/metrics``."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from functions.documentation import errors
from functions.state import ServerState


def router(state: ServerState) -> APIRouter:
    """Readiness, and Prometheus' text."""
    routes = APIRouter(tags=["operations"])

    @routes.head("/health", include_in_schema=False)
    @routes.get("/v1/health", include_in_schema=False)
    @routes.get("/health", responses=errors(503))
    async def health() -> dict[str, str]:
        """Tell whether requests are served.

        200, or 503 while the model loads (with the progress) and while the server shuts down.
        """
        if not state.has_model:
            return {"status": "ok"}
        return {"status": "ok", "model": state.model().name}

    @routes.get("/metrics", response_class=Response, responses=errors(401))
    async def metrics() -> Response:
        """Read counters, gauges and histograms in Prometheus' text format."""
        return Response(state.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return routes
