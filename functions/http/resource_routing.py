"""Routes of resources, which are FastAPI's, with bodies as all endpoints take them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from itertools import islice
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from functions.http.fastapi_import import APIRoute, APIRouter
from functions.http.request_body import read_json
from shared.completion.headers import ignored_header
from shared.protocol.fields import MAX_IGNORED
from shared.protocol.strict import Strict
from shared.runtime.request_context import request_context


class ResourceRoute(APIRoute):
    """FastAPI's route, with bodies as all endpoints take them.

    They are read by `functions.http.request_body`: with its limits and encodings, and whatever
    their content type is. Fields of bodies and queries that nobody knows are named in the response
    header ``x-ignored-params``.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, _noting_unknown_fields(endpoint), **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of a request, as FastAPI calls it."""
        handle, has_body = super().get_route_handler(), self.body_field is not None

        async def handle_request(request: Request) -> Response:
            if has_body:
                body = await read_json(request, request.app.state.server, lambda data, _: data)
                request = _ReadRequest(request, body)
            response = await handle(request)
            response.headers.update(ignored_header(request_context().ignored_params))
            return response

        return handle_request


def _noting_unknown_fields(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """``endpoint``, which notes unknown fields of its parameters in the request's context.

    Nothing but the endpoint is given what FastAPI has read.
    """

    @wraps(endpoint)
    async def noting(**values: Any) -> Any:
        sent = [value for value in values.values() if isinstance(value, Strict)]
        unknown = (name for value in sent for name in value.unknown_fields())
        request_context().ignored_params = sorted(islice(unknown, MAX_IGNORED))
        return await endpoint(**values)

    return noting


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
