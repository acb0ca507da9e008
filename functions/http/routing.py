"""Routes without FastAPI, of completions and of health, and the table of all routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Receive, Scope, Send

if TYPE_CHECKING:
    from functions.http.openapi.post_documentation import PostDocumentation


class PostRoute(Route):
    """A ``POST`` route that reads and validates its body itself: FastAPI's work takes 0.1 ms.

    The OpenAPI document describes it where it has a ``documentation``.
    """

    def __init__(
        self,
        path: str,
        endpoint: Callable[[Request], Awaitable[Response]],
        documentation: Callable[[], PostDocumentation] | None = None,
    ) -> None:
        super().__init__(path, endpoint, methods=["POST"])
        self.documentation = documentation


class DirectRoutes:
    """ASGI app of routes without parameters: a look-up in place of FastAPI's way to a handler.

    That goes through seven layers, four of which wrap each message of a stream once more. Whatever
    a handler raises is for the middleware around this.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._handlers = {
            (method, route.path): route.endpoint
            for route in routes
            for method in route.methods or ()
        }

    def has(self, scope: Scope) -> bool:
        """Whether a request is for one of them."""
        return (
            scope["type"] == "http"
            and (scope["method"], scope["path"]) in self._handlers
            and not scope.get("root_path")
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request that `has` is true for (ASGI 3)."""
        handle = self._handlers[scope["method"], scope["path"]]
        response = await handle(Request(scope, receive))
        await response(scope, receive, send)


class RouteTable:
    """What each path is called, and which methods it takes; known before a request is routed."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._routes = [route for route in routes if isinstance(route, (Mount, Route))]
        self._plain = {route.path for route in self._routes if not route.param_convertors}
        self.plain = sorted(self._plain)
        """Paths without parameters."""
        self._patterns = [route for route in self._routes if route.path not in self._plain]

    def template(self, path: str) -> str | None:
        """What the routes that match ``path`` spell it, as in ``/v1/models/{model:path}``."""
        if path in self._plain:
            return path
        for route in self._patterns:
            if route.path_regex.match(path):
                return route.path
        return None

    def methods(self, path: str) -> list[str]:
        """The methods that all routes for ``path`` take; none where only a mount may know.

        HEAD is taken wherever GET is: `functions.http.middleware` makes it one, without the body.
        """
        methods: set[str] = set()
        for route in self._routes:
            if isinstance(route, Route) and route.path_regex.match(path):
                methods |= set(route.methods or ())
        if "GET" in methods:
            methods.add("HEAD")
        return sorted(methods)
