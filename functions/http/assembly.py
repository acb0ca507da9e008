"""Assembly of HTTP apps: routes, exception handlers for error envelopes, middleware."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from functions.http.error_envelope import error_body
from functions.http.fastapi_import import FastAPI, RequestValidationError
from functions.http.middleware import RequestMiddleware
from functions.http.routing import RouteTable
from functions.http.unknown_routes import advice, is_unknown, why_not_taken
from shared.config.settings import Settings
from shared.protocol.errors import APIError
from shared.protocol.validation_errors import from_error_details
from shared.runtime.request_context import note_error, request_context
from shared.runtime.state import ServerState

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig

NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "auto_configure": False,
}
"""FastAPI's own would be a second trace, and export validation errors with what callers sent."""


def assemble(app: FastAPI, state: ServerState, routes: Sequence[BaseRoute]) -> None:
    """Give ``app`` routes, errors in OpenAI's envelope, and `RequestMiddleware` around it all.

    ``routes`` are asked before those that it has already.
    """
    app.state.server = state
    app.router.routes[:0] = routes
    app.state.routes = table = RouteTable(app.routes)
    app.add_exception_handler(APIError, _answer_api_error)
    app.add_exception_handler(RequestValidationError, _answer_validation_error)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_middleware(RequestMiddleware, state=state, routes=table)


def administration_routes(settings: Settings) -> list[BaseRoute]:
    """Routes of the administration API; without accounts none, nor what importing them costs."""
    if not settings.accounts:
        return []
    from functions.http.endpoints.administration import routers

    return [route for router in routers for route in router.routes]


async def _answer_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, APIError)
    return _response(error, request)


async def _answer_validation_error(request: Request, error: Exception) -> Response:
    """What FastAPI finds wrong with a body or parameters, as all other endpoints say it."""
    assert isinstance(error, RequestValidationError)
    details: Sequence[Any] = error.errors()
    source = details[0]["loc"][0]  # "body", "query", "path" or "header"
    data = error.body if source == "body" else dict(request.query_params)
    inside: list[Any] = [
        {**detail, "loc": detail["loc"][1:]} for detail in details if detail["loc"][0] == source
    ]
    return _response(from_error_details(inside, data), request)


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    """Unknown routes and wrong methods, in OpenAI's envelope."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    status, path = error.status_code, request.scope["path"]
    if status == 405 and is_unknown(path, request.method):
        status, headers = 404, {}
    if status == 404:
        hint = advice(path, request.app.state.routes, request.method)
        message = f"Unknown route: {request.method} {request.url.path}. {hint}".rstrip()
        code = "unknown_url"
    elif status == 405:
        message = f"{request.url.path} does not take {request.method} requests."
        message = f"{message} {why_not_taken(path)}".rstrip()
        code = "method_not_allowed"
        routes: RouteTable = request.app.state.routes
        if methods := routes.methods(path):
            headers["Allow"] = ", ".join(methods)  # the error knows the first route's only
    else:
        message, code = str(error.detail), "http_error"
    told = APIError(status, message, code=code, headers=headers)
    return _response(told, request)


def _response(error: APIError, request: Request) -> Response:
    note_error(error)
    headers: dict[str, Any] = error.headers
    body = error_body(error, request.scope["path"], request_context().request_id)
    return Response(body, error.status, headers, media_type="application/json")
