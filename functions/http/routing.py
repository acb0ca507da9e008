"""Routes: resources' (FastAPI's), completions' (not FastAPI's), and the table of all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Receive, Scope, Send

from functions.http.request_body import read_json

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
        documentation: PostDocumentation | None = None,
    ) -> None:
        super().__init__(path, endpoint, methods=["POST"])
        self.documentation = documentation


class ResourceRoute(APIRoute):
    """FastAPI's route, with bodies as all endpoints take them.

    They are read by `functions.http.request_body`: with its limits and encodings, and whatever
    their content type is.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of a request, as FastAPI calls it."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def handle_body(request: Request) -> Response:
            body = await read_json(request, request.app.state.server, lambda data, _: data)
            return await handle(_ReadRequest(request, body))

        return handle_body


class _ReadRequest(Request):
    """A request whose JSON body is read already."""

    def __init__(self, request: Request, body: Any) -> None:
        headers = [header for header in request.scope["headers"] if header[0] != b"content-type"]
        json_type = (b"content-type", b"application/json")  # FastAPI parses nothing else
        super().__init__({**request.scope, "headers": [*headers, json_type]}, request.receive)
        self._data = body

    async def body(self) -> bytes:
        """Not empty, which is all that FastAPI asks before it takes `json`."""
        return b"{}"

    async def json(self) -> Any:
        """The body's value."""
        return self._data


def resource_router(tag: str) -> APIRouter:
    """A router for the endpoints of a resource. Operations have their functions' names."""
    return APIRouter(
        tags=[tag],
        route_class=ResourceRoute,
        generate_unique_id_function=lambda route: route.name,
    )


class DirectRoutes:
    """ASGI app of `PostRoute`s: a look-up in place of the web framework's way to a handler.

    That goes through seven layers, four of which wrap each message of a stream once more. Whatever
    a handler raises is for the middleware around this.
    """

    def __init__(self, routes: Iterable[PostRoute]) -> None:
        self._handlers = {route.path: route.endpoint for route in routes}

    def has(self, scope: Scope) -> bool:
        """Whether a request is for one of them."""
        return (
            scope["type"] == "http"
            and scope["method"] == "POST"
            and scope["path"] in self._handlers
            and not scope.get("root_path")
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request that `has` is true for (ASGI 3)."""
        response = await self._handlers[scope["path"]](Request(scope, receive))
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
