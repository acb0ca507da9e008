"""HTTP app (ASGI) with all endpoints: the same on a laptop, on Lambda and on Modal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from functions.dashboard.routes import dashboard_routes, leads_to_dashboard
from functions.http.assembly import NO_TELEMETRY, administration_routes, assemble
from functions.http.dispatch.upstream_completions import load_modes
from functions.http.endpoints import (
    chat_completions,
    completions,
    health,
    input_tokens,
    llama_cpp,
    messages,
    metrics,
    models,
    props,
    responses,
    slots,
    stored_completions,
    tokens,
)
from functions.http.middleware import RequestMiddleware
from functions.http.openapi import document
from functions.http.openapi.page import add_documentation_page
from functions.http.routing import DirectRoutes
from shared.config.request_defaults import REQUEST_SCHEMAS
from shared.config.settings import Settings
from shared.runtime.loader import ModelLoader
from shared.runtime.state import ServerState

_DESCRIPTION = "OpenAI-compatible chat and text completions for GGUF models."


class App(FastAPI):
    """FastAPI, but for requests for completions, which go straight to their handlers."""

    direct: DirectRoutes
    direct_app: ASGIApp
    """`direct` with the middleware that every request passes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI 3)."""
        if self.direct.has(scope):
            await self.direct_app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(settings: Settings, loader: ModelLoader | None = None) -> FastAPI:
    """The app for ``settings``. ``loader`` is given where loading began before the imports."""
    if loader is None:
        loader = ModelLoader(settings)
        loader.start()
    state = ServerState(settings, loader)
    state.models.start()
    load_modes(state)
    for schema in REQUEST_SCHEMAS:
        schema.model_rebuild()  # what the first request would else wait for

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if state.tracing is not None:
            state.tracing.start()
        yield
        if state.upstreams is not None:
            await state.upstreams.close()
        state.close()

    app = App(
        docs_url=None,
        redoc_url=None,
        title="pilotlight",
        version=version("pilotlight"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
        telemetry=NO_TELEMETRY,
    )
    create_chat_completion = chat_completions.handler(state)
    direct = [
        *chat_completions.routes(create_chat_completion),
        messages.route(state, create_chat_completion, messages.documented()),
        responses.route(state, create_chat_completion, responses.documented()),
        *completions.routes(state),
        *llama_cpp.routes(state),
        *tokens.routes(state),
        *input_tokens.routes(state),
    ]
    routes = [
        *direct,
        *models.router.routes,
        *health.router.routes,
        *metrics.router.routes,
        *(route for router in stored_completions.routers for route in router.routes),
        *props.router.routes,
        *slots.router.routes,
        *responses.router.routes,
        *administration_routes(settings),
        *dashboard_routes(state, create_chat_completion),
        Route("/", _first_page),
    ]
    add_documentation_page(app)
    app.openapi = lambda: document.openapi(app)  # type: ignore[method-assign]
    table = assemble(app, state, routes)
    app.direct = DirectRoutes(direct)
    app.direct_app = RequestMiddleware(app.direct, state, table)
    return app


async def _first_page(request: Request) -> Response:
    return RedirectResponse("/dashboard" if leads_to_dashboard(request) else "/docs", 307)
