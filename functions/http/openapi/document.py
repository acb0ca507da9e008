"""``GET /openapi.json``: the OpenAPI document, which FastAPI generates from routes and models."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from functions.http.authentication import is_public
from functions.http.fastapi_import import FastAPI
from functions.http.openapi.post_documentation import STREAM
from functions.http.routing import PostRoute

_UNUSED = ("HTTPValidationError", "ValidationError")
"""FastAPI's own errors: ours are in OpenAI's envelope."""


def serve_document(app: FastAPI) -> None:
    """Have ``app`` serve its document, made by the first request, on a thread: it takes 0.9 s."""
    lock = threading.Lock()

    def made_once() -> dict[str, Any]:
        with lock:
            return openapi(app)

    app.openapi = made_once  # type: ignore[method-assign]
    (written,) = (
        route
        for route in app.router.routes
        if isinstance(route, Route) and route.path == app.openapi_url
    )

    async def get_document(request: Request) -> Response:
        await asyncio.to_thread(app.openapi)
        response: Response = await written.endpoint(request)
        return response

    app.router.routes.remove(written)
    app.add_route(written.path, get_document, include_in_schema=False)


def openapi(app: FastAPI) -> dict[str, Any]:
    """The document; made once."""
    if app.openapi_schema is None:
        from fastapi.openapi.utils import get_openapi

        routes = [route for served in app.routes for route in _described(served)]
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=routes
        )
        _join_streams(document["paths"])
        for path, operations in document["paths"].items():
            for operation in operations.values():
                _tidy(operation)
                if is_public(path):
                    operation["security"] = []
        components = document["components"]
        components["schemas"] = {
            name: schema for name, schema in components["schemas"].items() if name not in _UNUSED
        }
        # The middleware checks keys, of which FastAPI knows nothing.
        components["securitySchemes"] = {"apiKey": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"apiKey": []}]
        app.openapi_schema = _readable(document)
    return app.openapi_schema


def _described(route: BaseRoute) -> Iterator[BaseRoute]:
    """The routes that describe ``route``."""
    if isinstance(route, PostRoute) and route.documentation is not None:
        yield from route.documentation().routes(route.path, route.endpoint)
    else:
        yield route


def _join_streams(paths: dict[str, Any]) -> None:
    """Make one operation of an endpoint's whole answers and its streams."""
    for path in [path for path in paths if path.endswith(STREAM)]:
        stream = paths.pop(path)["post"]["responses"]["200"]["content"]
        paths[path.removesuffix(STREAM)]["post"]["responses"]["200"]["content"] |= stream


def _tidy(operation: dict[str, Any]) -> None:
    """Undo what FastAPI assumes: its own validation errors, summaries made of functions' names."""
    responses = operation["responses"]
    operation["responses"] = {
        status: responses[status] for status in sorted({*responses} - {"422"})
    }
    for response in (responses[status] for status in operation["responses"] if status != "200"):
        # FastAPI takes errors to be of the media type that the endpoint has else.
        response["content"] = {"application/json": next(iter(response["content"].values()))}
    succeeded = responses["200"]
    if succeeded["description"] == "Successful Response":
        succeeded["description"] = "The answer."
    summary, _, rest = operation.pop("description").partition("\n\n")
    operation["summary"] = summary.removesuffix(".")
    if rest:
        operation["description"] = rest
    for parameter in operation.get("parameters", ()):
        if parameter["schema"].get("type") == "object":  # written name[key]=value
            parameter |= {"style": "deepObject", "explode": True}


def _readable(value: Any) -> Any:
    """The document with code in Markdown's quotes, not reStructuredText's, and 8 for 8.0."""
    if isinstance(value, list):
        return [_readable(item) for item in value]
    if isinstance(value, dict):
        return {
            key: inner.replace("``", "`")
            if key == "description" and isinstance(inner, str)
            else _readable(inner)
            for key, inner in value.items()
        }
    # FastAPI makes floats of all bounds.
    return int(value) if isinstance(value, float) and value.is_integer() else value
