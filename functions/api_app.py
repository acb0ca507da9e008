"""Assembles the app that serves what needs no model: stored completions and the list of models.

Nothing here imports the engine: the function starts in a moment, and needs little memory.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import NoReturn

from fastapi import FastAPI, Request

from functions import health, models, stored_completions
from functions.assembly import assemble
from functions.routing import PostRoute
from functions.state import ServerState
from shared.protocol.errors import APIError
from shared.settings import Settings

_INFERENCE_PATHS = ("/v1/chat/completions", "/v1/completions")


def create_api_app(settings: Settings) -> FastAPI:
    """The app for ``settings``; `functions.app.create_app` makes the one that has everything."""
    app = FastAPI(
        title="pilotlight", version=version("pilotlight"), openapi_url=None, redirect_slashes=False
    )
    state = ServerState(settings, None)
    routes = [PostRoute(path, _refuse) for path in _INFERENCE_PATHS]
    routers = [module.router(state) for module in (models, health, stored_completions)]
    return assemble(app, state, routes, routers)


async def _refuse(request: Request) -> NoReturn:
    raise APIError(
        404,
        f"POST {request.url.path} is served by another function of this deployment: this one has "
        "no model, only completions that are stored.",
        code="served_elsewhere",
    )
