"""``GET /metrics``: Prometheus' metrics."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import PlainTextResponse

from functions.http.dependencies import State
from functions.http.openapi.error_responses import error_responses
from functions.http.resource_routing import resource_router

router = resource_router("operations")


@router.get("/metrics", response_class=PlainTextResponse, responses=error_responses(401))
async def get_metrics(state: State) -> PlainTextResponse:
    """Read counters, gauges and histograms in Prometheus' text format."""
    return PlainTextResponse(state.metrics.text(), media_type=CONTENT_TYPE_LATEST)
