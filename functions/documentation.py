"""``GET /docs``: the OpenAPI document, generated from the models that validate."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from shared.protocol.chat import ChatCompletionRequest
from shared.protocol.responses import ErrorEnvelope
from shared.protocol.text import CompletionRequest

_REFERENCE = "#/components/schemas/{model}"
_ERRORS = {
    400: "A field is missing, of the wrong type or out of range; `param` says which.",
    401: "No API key, or a wrong one.",
    404: "Unknown model.",
    413: "The body is larger than the limit.",
    429: "The queue is full; see `Retry-After`.",
    503: "The model is still loading; see `Retry-After`.",
}


def completion_endpoint(
    request: type[BaseModel], response: type[BaseModel], chunk: str
) -> dict[str, Any]:
    """Keyword arguments of a route that reads its body itself: what FastAPI can't infer."""
    schema = {"$ref": _REFERENCE.format(model=request.__name__)}
    return {
        "response_model": None,
        "responses": {
            200: {
                "model": response,
                "description": "The completion; with `stream: true` server-sent events, each a "
                f"`{chunk}`, then `data: [DONE]`.",
            },
            **{
                status: {"model": ErrorEnvelope, "description": text}
                for status, text in _ERRORS.items()
            },
        },
        "openapi_extra": {
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}
        },
    }


def openapi(app: FastAPI) -> dict[str, Any]:
    """The document, with the request models among the components."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        _, definitions = models_json_schema(
            [(ChatCompletionRequest, "validation"), (CompletionRequest, "validation")],
            ref_template=_REFERENCE,
        )
        document["components"]["schemas"].update(definitions["$defs"])
        document["components"]["securitySchemes"] = {"apiKey": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"apiKey": []}]
        app.openapi_schema = document
    return app.openapi_schema
