"""HTTP app (ASGI) of what needs no model: others' models, stored completions, the list of models.

Nothing here imports the engine: the function starts in a moment, and needs little memory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NoReturn

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from functions.dashboard.routes import dashboard_routes, leads_to_dashboard
from functions.http.assembly import NO_TELEMETRY, administration_routes, assemble
from functions.http.endpoints import (
    health,
    messages,
    metrics,
    models,
    responses,
    stored_completions,
    stored_responses,
)
from functions.http.fastapi_import import FastAPI, Request
from functions.http.routing import PostRoute
from shared.config.settings import Settings
from shared.protocol.errors import APIError, invalid, model_not_found
from shared.runtime import tracing
from shared.runtime.request_context import request_context
from shared.runtime.state import ServerState

if TYPE_CHECKING:
    from functions.http.dispatch.upstream_completions import Respond
    from shared.upstreams.dialects.dialect import Endpoint


def create_api_app(settings: Settings, *, asks_upstreams: bool = False) -> FastAPI:
    """App of what needs no model; `functions.http.app.create_app` makes the one with everything.

    ``asks_upstreams``: whether it answers for the models that somebody else serves.
    It has no OpenAPI document: schemas of requests and answers would take longer than all the rest.
    """
    state = ServerState(settings, None, asks_upstreams=asks_upstreams)
    if tracing.is_configured():
        state.tracing = tracing.Tracing()
    if asks_upstreams:
        from functions.http.dispatch.upstream_completions import load_modes

        load_modes(state)
    complete_chat = _handler(state, "chat")
    app = FastAPI(openapi_url=None, redirect_slashes=False, telemetry=NO_TELEMETRY)
    routes = [
        *models.router.routes,
        *health.router.routes,
        *metrics.router.routes,
        *(route for router in stored_completions.routers for route in router.routes),
        *administration_routes(settings),
        *dashboard_routes(state, complete_chat if asks_upstreams else None),
        Route("/", _first_page),
        PostRoute("/v1/chat/completions", complete_chat),
        messages.route(state, complete_chat),
        responses.route(state, complete_chat),
        *stored_responses.router.routes,
        PostRoute("/v1/completions", _handler(state, "text")),
    ]
    assemble(app, state, routes)
    return app


async def _first_page(request: Request) -> Response:
    if not leads_to_dashboard(request):
        raise HTTPException(404)
    # Relative, since a stage of API Gateway may come before it.
    return RedirectResponse("dashboard" if request.url.path.endswith("/") else "/dashboard", 307)


def _handler(state: ServerState, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    """The handler of completions: of upstreams' models alone."""
    path = "/v1/chat/completions" if endpoint == "chat" else "/v1/completions"

    def choose(data: Any, body: bytes, stand_in: str | None = None) -> Respond:
        from functions.http.dispatch.upstream_completions import upstream_completion

        respond = upstream_completion(state, endpoint, data, body, stand_in)
        return respond or _refuse

    async def _refuse() -> NoReturn:
        if not state.settings.has_own_model:
            raise _no_such_model(state)
        raise APIError(
            404,
            f"POST {path} is served by another function of this deployment: this one "
            "has no model, only completions that are stored.",
            code="served_elsewhere",
        )

    async def create_completion(request: Request) -> Response:
        if state.upstreams is None:
            await _refuse()
        from functions.http.dispatch.stand_ins import respond_to

        return await respond_to(request, state, choose, has_stand_ins=True)

    return create_completion


def _no_such_model(state: ServerState) -> APIError:
    """404: there are other models."""
    context = request_context()
    name = context.body.get("model") if isinstance(context.body, dict) else None
    if not isinstance(name, str):
        return invalid(
            "'model' has to name one of GET /v1/models.", "model", "missing_required_parameter"
        )
    return model_not_found(name, state.known_names(context.caller))
