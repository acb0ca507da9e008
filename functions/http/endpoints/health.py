"""``GET /health`` and ``/metrics``."""

from __future__ import annotations

import orjson
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.protocol.errors import engine_stalled
from shared.runtime.state import ServerState


def routes(state: ServerState) -> list[Route]:
    """Readiness, and Prometheus' text."""

    async def health(_: Request) -> Response:
        status = {"status": "ok"}
        if state.has_model:
            served = state.model()  # raises 503 while there is none
            if served.engine.is_stalled:
                raise engine_stalled()
            status["model"] = served.name
        return Response(orjson.dumps(status), media_type="application/json")

    async def metrics(_: Request) -> Response:
        return Response(state.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return [
        Route("/health", health, methods=["GET"]),
        Route("/v1/health", health, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]
