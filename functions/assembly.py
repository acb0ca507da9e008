"""What every app is put together from: routes, error envelopes, and the wrapper around them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from functions.middleware import RequestContext
from functions.routing import RouteTable
from functions.state import ServerState
from shared.protocol.errors import APIError


def assemble(
    app: FastAPI, state: ServerState, routes: Sequence[Route], routers: Sequence[APIRouter]
) -> FastAPI:
    """``app`` with its routes, errors in OpenAI's envelope and `RequestContext` around it all.

    ``routes`` are asked before those of ``routers``.
    """
    app.state.server = state
    app.router.routes[:0] = routes
    table = RouteTable(chain(app.routes, *(router.routes for router in routers)))
    for router in routers:
        app.include_router(router)
    app.state.routes = table
    app.add_exception_handler(APIError, _answer_api_error)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_middleware(RequestContext, state=state, routes=table)
    return app


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
