"""HTTP app (ASGI) of what needs no model: stored completions and the list of models.

Nothing here imports the engine: the function starts in a moment, and needs little memory.
"""

from __future__ import annotations

from typing import NoReturn

from fastapi import FastAPI, Request

from functions.http.assembly import NO_TELEMETRY, administration_routes, assemble
from functions.http.endpoints import health, metrics, models, stored_completions
from functions.http.routing import PostRoute
from shared.config.settings import Settings
from shared.protocol.errors import APIError
from shared.runtime.state import ServerState

_INFERENCE_PATHS = ("/v1/chat/completions", "/v1/completions")


def create_api_app(settings: Settings) -> FastAPI:
    """App of what needs no model; `functions.http.app.create_app` makes the one with everything.

    It has no OpenAPI document: schemas of requests and answers would take longer than all the rest.
    """
    app = FastAPI(openapi_url=None, redirect_slashes=False, telemetry=NO_TELEMETRY)
    routes = [
        *models.router.routes,
        *health.router.routes,
        *metrics.router.routes,
        *(route for router in stored_completions.routers for route in router.routes),
        *administration_routes(settings),
        *(PostRoute(path, _refuse) for path in _INFERENCE_PATHS),
    ]
    assemble(app, ServerState(settings, None), routes)
    return app


async def _refuse(request: Request) -> NoReturn:
    raise APIError(
        404,
        f"POST {request.url.path} is served by another function of this deployment: this one has "
        "no model, only completions that are stored.",
        code="served_elsewhere",
    )
