"""Routes of resources, which are FastAPI's, with bodies as all endpoints take them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from functions.http.fastapi_import import APIRoute, APIRouter
from functions.http.request_body import read_json


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
