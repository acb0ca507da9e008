"""HTTP app (ASGI) with all endpoints: the same on a laptop, on Lambda and on Modal."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from starlette.datastructures import State
from starlette.routing import Router

from functions.http.asgi_extensions import ADMITTED_EXTENSION
from functions.http.dispatch.upstream_completions import load_modes
from functions.http.endpoints import (
    chat_completions,
    completions,
    llama_cpp,
    readiness,
    tokens,
)
from functions.http.middleware import RequestMiddleware, send_error
from functions.http.routing import DirectRoutes, RouteTable
from shared.config.request_defaults import REQUEST_SCHEMAS
from shared.config.settings import Settings
from shared.protocol.errors import server_error
from shared.runtime import tracing
from shared.runtime.loader import ModelLoader
from shared.runtime.state import ServerState

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from functions.http.fastapi_import import FastAPI
    from functions.http.routing import PostRoute

_log = logging.getLogger("pilotlight")


class App:
    """ASGI app that serves completions and ``GET /health`` by itself, all else by FastAPI.

    That, the resources' endpoints and the dialects that are translated to chat completions take
    0.25 s to import, for which the first completion of a process need not wait: they are imported
    for the first request that needs them, or ahead of it (`resources`).
    """

    def __init__(self, server: ServerState) -> None:
        self.state = State({"server": server})
        """As of all of Starlette's apps: ``server`` is what the handlers share."""
        self._server = server
        self._complete_chat = chat_completions.handler(server)
        self._chats = chat_completions.routes(self._complete_chat)
        self._others: list[PostRoute] = [
            *completions.routes(server),
            *llama_cpp.routes(server),
            *tokens.routes(server),
        ]
        self._serve_directly([*self._chats, *self._others])
        self._lifespan = Router(lifespan=_lifespan(server)).lifespan
        self._resources: FastAPI | None = None
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI 3)."""
        if self._direct.has(scope):
            await self._direct_app(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif self._resources is not None:
            await self._resources(scope, receive, send)
        else:
            await self._build_and_handle(scope, receive, send)

    def resources(self) -> FastAPI:
        """The app of FastAPI, which has all routes; imported and built by the first call."""
        with self._lock:
            if self._resources is None:
                from functions.http.resources import completion_routes, create_resources

                complete_chat = self._complete_chat
                posts = completion_routes(self._server, complete_chat, self._chats, self._others)
                self._resources = create_resources(self._server, posts, complete_chat)
                self._serve_directly(posts)
            return self._resources

    def _serve_directly(self, posts: Sequence[PostRoute]) -> None:
        """Have requests for ``posts``, and for readiness, go straight to their handlers."""
        routes = [*posts, *readiness.routes(self._server)]
        direct = DirectRoutes(routes)
        # This order: requests may come meanwhile, and the new app has all that the old one has.
        self._direct_app = RequestMiddleware(direct, self._server, RouteTable(routes))
        self._direct = direct

    async def _build_and_handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._server.n_active += 1  # a shutdown is to wait for it
        if not self._server.is_shutting_down:
            extensions = {**(scope.get("extensions") or {}), ADMITTED_EXTENSION: {}}
            scope = {**scope, "extensions": extensions}
        try:
            await asyncio.to_thread(self.resources)
        except Exception:
            _log.exception("endpoints can't be imported")
            await send_error(server_error(), send, scope["path"])
            return
        finally:
            self._server.n_active -= 1
        await self(scope, receive, send)


def create_app(settings: Settings, loader: ModelLoader | None = None) -> App:
    """The app for ``settings``. ``loader`` is given where loading began before the imports."""
    if loader is None:
        loader = ModelLoader(settings)
        loader.start()
    state = ServerState(settings, loader)
    state.models.start()
    if tracing.is_configured():
        state.tracing = tracing.Tracing()
    load_modes(state)
    for schema in REQUEST_SCHEMAS:
        schema.model_rebuild()  # what the first request would else wait for
    return App(state)


def _lifespan(state: ServerState) -> Callable[[object], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        if state.tracing is not None:
            state.tracing.start()
        yield
        if state.upstreams is not None:
            await state.upstreams.close()
        state.close()

    return lifespan
