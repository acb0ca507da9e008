"""App of FastAPI with all endpoints, the OpenAPI document and the dashboard.

Completions start without it, see `functions.http.app`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from functions.dashboard.routes import dashboard_routes, leads_to_dashboard
from functions.http.assembly import NO_TELEMETRY, administration_routes, assemble
from functions.http.endpoints import (
    health,
    input_tokens,
    messages,
    metrics,
    models,
    props,
    responses,
    slots,
    stored_completions,
    stored_responses,
)
from functions.http.fastapi_import import FastAPI
from functions.http.openapi import document
from functions.http.openapi.page import add_documentation_page

if TYPE_CHECKING:
    from functions.http.endpoints.chat_completions import Handler
    from functions.http.routing import PostRoute
    from shared.runtime.state import ServerState

_DESCRIPTION = "OpenAI-compatible chat and text completions for GGUF models."


def completion_routes(
    state: ServerState,
    complete_chat: Handler,
    chats: Sequence[PostRoute],
    others: Sequence[PostRoute],
) -> list[PostRoute]:
    """``chats``, ``others``, and what is translated to chat completions, as the document has them.

    None of these needs FastAPI.
    """
    return [
        *chats,
        messages.route(state, complete_chat, messages.documented),
        responses.route(state, complete_chat, responses.documented),
        *others,
        *input_tokens.routes(state),
    ]


def create_resources(
    state: ServerState, posts: Sequence[PostRoute], complete_chat: Handler
) -> FastAPI:
    """The app. ``posts`` are the routes of completions, ``complete_chat`` what chats are for."""
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        title="pilotlight",
        version=version("pilotlight"),
        description=_DESCRIPTION,
        redirect_slashes=False,
        telemetry=NO_TELEMETRY,
    )
    routes = [
        *posts,
        *models.router.routes,
        *health.router.routes,
        *metrics.router.routes,
        *(route for router in stored_completions.routers for route in router.routes),
        *props.router.routes,
        *slots.router.routes,
        *stored_responses.router.routes,
        *administration_routes(state.settings),
        *dashboard_routes(state, complete_chat),
        Route("/", _first_page),
    ]
    add_documentation_page(app)
    document.serve_document(app)
    assemble(app, state, routes)
    return app


async def _first_page(request: Request) -> Response:
    return RedirectResponse("/dashboard" if leads_to_dashboard(request) else "/docs", 307)
