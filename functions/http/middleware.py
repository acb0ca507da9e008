"""Middleware of every request: id, authentication, error envelope, headers, access log."""

from __future__ import annotations

import logging
import re
import time
from itertools import islice
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from functions.http.asgi_extensions import ADMITTED_EXTENSION, SENT_EXTENSION
from functions.http.authentication import authenticate, is_public
from functions.http.cors import CrossOriginPolicy
from functions.http.error_envelope import error_body, request_id_headers
from shared.protocol.errors import APIError, server_error, shutting_down
from shared.runtime import request_context

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from functions.http.routing import RouteTable
    from shared.runtime.request_context import RequestContext
    from shared.runtime.state import ServerState

_log = logging.getLogger("pilotlight.access")

_SERVED_TO_THE_END = ("/health", "/v1/health", "/metrics")
"""Which tell that the server shuts down."""

_UNKNOWN = "(unknown)"
_SHOWN_CHARACTERS = 100

_REQUEST_ID = re.compile(rb"^[A-Za-z0-9._\-]{1,128}$")


class RequestMiddleware:
    """Middleware of every request; whatever escapes a handler becomes an error envelope here."""

    def __init__(self, app: ASGIApp, state: ServerState, routes: RouteTable) -> None:
        self._app = app
        self._state = state
        self._routes = routes
        self._cors = CrossOriginPolicy.of(state.settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI 3)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = self._state
        request_id = _request_id(scope)
        context = self._begin(scope, request_id.decode())
        is_head = scope["method"] == "HEAD"
        if is_head and "GET" in self._routes.methods(scope["path"]):
            scope = {**scope, "method": "GET"}
        # Where nothing runs between requests, what comes after the answer may come never.
        goes_on = SENT_EXTENSION in (scope.get("extensions") or ()) and not state.is_frozen_between
        cors = self._cors
        cors_headers = () if cors is None else cors.headers(scope["path"], scope["headers"])

        def send_with_headers(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                context.status = message["status"]
                elapsed = (time.monotonic() - context.started) * 1000
                message["headers"] = [
                    *message["headers"],
                    *cors_headers,
                    *request_id_headers(scope["path"], request_id),
                    (b"openai-processing-ms", b"%d" % elapsed),
                ]
            else:
                if is_head and message.get("body"):
                    message = {**message, "body": b""}
                if not goes_on and not message.get("more_body"):
                    self._finish(scope, context)
            return send(message)

        state.n_active += 1
        try:
            if state.guard is not None:
                state.guard(context.method, scope["headers"])
            if cors is not None and (preflight := cors.preflight(scope)) is not None:
                cors_headers = ()  # it has its own
                await preflight(scope, receive, send_with_headers)
                return
            await self._admit(scope, context)
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            context.status = 499  # nginx's number for a client that closed the request
        except Exception as error:
            if not isinstance(error, APIError):
                _log.exception("request %s failed", context.request_id)
                error = server_error()
            context.error = error
            if context.status == 0:
                await send_error(error, send_with_headers, scope["path"], context.request_id)
        finally:
            state.n_active -= 1
            if not context.is_finished:
                self._finish(scope, context)
            context.end()

    def _begin(self, scope: Scope, request_id: str) -> RequestContext:
        """A context for the request, which knows its deadline and its span."""
        state = self._state
        context = request_context.begin(request_id, scope["method"])
        if state.time_limit is not None:
            context.deadline = state.time_limit.deadline(scope)
        if state.tracing is not None:
            state.tracing.begin(context, scope["path"], scope["headers"])
        return context

    async def _admit(self, scope: Scope, context: RequestContext) -> None:
        """Authenticate the caller; raises `APIError` for who has no key, or when this server ends.

        What began before the shutdown is admitted even if the caller's key is looked up meanwhile.
        """
        state = self._state
        extensions = scope.get("extensions") or ()
        is_refused = state.is_shutting_down and ADMITTED_EXTENSION not in extensions
        if not is_public(scope["path"]):
            context.caller = await authenticate(scope, state)
        if is_refused and scope["path"] not in _SERVED_TO_THE_END:
            raise shutting_down()

    def _finish(self, scope: Scope, context: RequestContext) -> None:
        """Complete the context; count and log the request."""
        context.is_finished = True
        context.seconds = time.monotonic() - context.started
        # The routes' spelling, even where none was reached; clients can't add series.
        context.path = self._routes.template(scope["path"]) or _UNKNOWN
        self._state.metrics.finish(context)
        if context.span is not None and self._state.tracing is not None:
            self._state.tracing.end(context)
        path = context.path
        if path == _UNKNOWN and context.status == 404:
            path = _shown(scope["path"])
        _log.info(
            "%s %s %d %.1f ms %s",
            context.method,
            path,
            context.status,
            context.seconds * 1000,
            context.request_id,
            extra={"request": context},
        )


async def send_error(error: APIError, send: Send, path: str = "", request_id: str = "") -> None:
    """Answer with the error's envelope, in the dialect that ``path`` speaks."""
    body = error_body(error, path, request_id)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        *((name.encode(), value.encode()) for name, value in error.headers.items()),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _shown(path: str) -> str:
    """The beginning of an unknown path, without what would break or forge the log's columns."""
    visible = (c for c in path if c.isprintable() and not c.isspace())
    return "".join(islice(visible, _SHOWN_CHARACTERS))


def _request_id(scope: Scope) -> bytes:
    """The request's id: its own, if it brings a sane one."""
    request_id = b""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.match(value):
            request_id = value
    return request_id or request_context.new_request_id()
