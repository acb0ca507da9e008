"""Assembles the HTTP app: the same one on a laptop, on Lambda and on Modal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from itertools import chain
from typing import Any

from fastapi import FastAPI, Request
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from functions import (
    chat_completions,
    completions,
    documentation,
    health,
    llama_cpp,
    models,
    props,
    stored_completions,
    tokens,
)
from functions.middleware import DOCS_FILES, RequestContext
from functions.routing import PostRoute, RouteTable
from functions.state import ServerState
from shared.models.loader import ModelLoader
from shared.protocol.errors import APIError
from shared.settings import Settings

_DESCRIPTION = "OpenAI-compatible chat and text completions for GGUF models."


def create_app(settings: Settings, loader: ModelLoader | None = None) -> FastAPI:
    """The app for ``settings``. ``loader`` is given where loading began before the imports."""
    if loader is None:
        loader = ModelLoader(settings)
        loader.start()
    state = ServerState(settings, loader)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        loader.close()
        state.close()

    # Not FastAPI's own: its documentation page loads its scripts from elsewhere.
    app = FastAPIOffline(
        redoc_url=None,
        static_url=DOCS_FILES,
        title="pilotlight",
        version=version("pilotlight"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.server = state
    chat = chat_completions.route(state)
    app.router.routes[:0] = [
        chat,
        PostRoute("/chat/completions", chat.endpoint),  # llama-server's other name of it
        completions.route(state),
        *llama_cpp.routes(state),
        *tokens.routes(state),
        Route("/", _to_docs),
    ]
    routers = [module.router(state) for module in (models, health, props, stored_completions)]
    routes = RouteTable(chain(app.routes, *(router.routes for router in routers)))
    for router in routers:
        app.include_router(router)
    app.state.routes = routes
    app.openapi = lambda: documentation.openapi(app)  # type: ignore[method-assign]
    app.add_exception_handler(APIError, _answer_api_error)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_middleware(RequestContext, state=state, routes=routes)
    return app


async def _to_docs(_: Request) -> Response:
    return RedirectResponse("/docs", 307)


async def _answer_api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, APIError)
    return _response(error)


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    """Unknown routes and wrong methods, in OpenAI's envelope."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 404:
        message, code = f"Unknown route: {request.method} {request.url.path}.", "unknown_url"
    elif error.status_code == 405:
        message = f"{request.url.path} does not take {request.method} requests."
        code = "method_not_allowed"
        routes: RouteTable = request.app.state.routes
        if methods := routes.methods(request.scope["path"]):
            headers["Allow"] = ", ".join(methods)  # the error knows the first route's only
    else:
        message, code = str(error.detail), "http_error"
    return _response(APIError(error.status_code, message, code=code, headers=headers))


def _response(error: APIError) -> Response:
    headers: dict[str, Any] = error.headers
    return Response(error.body(), error.status, headers, media_type="application/json")
