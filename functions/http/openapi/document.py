"""``GET /docs``: the OpenAPI document, generated from the models that validate."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from functions.http.openapi.resources import (
    ANSWER,
    ERRORS,
    REFERENCE,
    SCHEMAS,
    answer,
    content,
    errors,
    resources,
)
from shared.protocol.llama_cpp.requests import DetokenizeRequest, LlamaCppRequest, TokenizeRequest
from shared.protocol.llama_cpp.responses import (
    DetokenizedText,
    LlamaCppCompletion,
    RenderedPrompt,
    Tokens,
)
from shared.protocol.openai.chat_completions import ChatCompletionRequest
from shared.protocol.openai.completions import CompletionRequest
from shared.protocol.responses import ChatCompletion, Completion


class Endpoint(NamedTuple):
    """An endpoint for POST requests. It reads its body itself, so FastAPI can't describe it."""

    path: str
    tag: str
    summary: str
    request: type[BaseModel]
    response: type[BaseModel]
    stream: str | None = None
    """How a stream differs from the body."""


_EVENTS = "with `stream: true` server-sent events, each a `{}`, then `data: [DONE]`"
_ENDPOINTS = (
    Endpoint(
        "/v1/chat/completions",
        "chat",
        "Complete a conversation",
        ChatCompletionRequest,
        ChatCompletion,
        _EVENTS.format("chat.completion.chunk"),
    ),
    Endpoint(
        "/v1/completions",
        "text",
        "Continue a text",
        CompletionRequest,
        Completion,
        _EVENTS.format("text_completion"),
    ),
    Endpoint(
        "/completion",
        "llama.cpp",
        "Continue a text in the dialect of llama.cpp's server (also POST /completions)",
        LlamaCppRequest,
        LlamaCppCompletion,
        "with `stream: true` server-sent events, of which the last one has `stop: true`",
    ),
    Endpoint("/tokenize", "llama.cpp", "Turn a text into tokens", TokenizeRequest, Tokens),
    Endpoint(
        "/detokenize",
        "llama.cpp",
        "Turn tokens into their text",
        DetokenizeRequest,
        DetokenizedText,
    ),
    Endpoint(
        "/apply-template",
        "llama.cpp",
        "Turn messages into the prompt that a chat completion would have",
        ChatCompletionRequest,
        RenderedPrompt,
    ),
)


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    responses = answer(endpoint.response) | errors(*ERRORS)
    if endpoint.stream is not None:
        responses[200]["description"] = f"The completion; {endpoint.stream}."
        responses[200]["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    return {
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "operationId": re.sub(r"\W", "_", endpoint.path.strip("/")),
        "requestBody": {"required": True, "content": content(endpoint.request)},
        "responses": {str(status): response for status, response in responses.items()},
    }


def _tidy(operation: dict[str, Any]) -> None:
    """Undo what FastAPI assumes: its own validation errors, titles made of functions' names."""
    responses = operation["responses"]
    operation["responses"] = {
        status: responses[status] for status in sorted({*responses} - {"422"})
    }
    succeeded = responses["200"]
    if succeeded["description"] == "Successful Response":
        succeeded["description"] = ANSWER
    summary, _, rest = operation.pop("description").partition("\n\n")
    operation["summary"] = summary.removesuffix(".")
    if rest:
        operation["description"] = rest


def _as_markdown(value: Any) -> Any:
    """The document with descriptions' code in Markdown's quotes rather than reStructuredText's."""
    if isinstance(value, list):
        return [_as_markdown(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: inner.replace("``", "`")
        if key == "description" and isinstance(inner, str)
        else _as_markdown(inner)
        for key, inner in value.items()
    }


def openapi(app: FastAPI) -> dict[str, Any]:
    """The document, with the request models among the components."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        described = {e.path: {"post": _operation(e)} for e in _ENDPOINTS}
        for path, operations in document["paths"].items():
            for operation in operations.values():
                _tidy(operation)
            described.setdefault(path, {}).update(operations)
        for path, operations in resources().items():
            described.setdefault(path, {}).update(operations)
        document["paths"] = described
        requests = [(endpoint.request, "validation") for endpoint in _ENDPOINTS]
        responses = [(endpoint.response, "serialization") for endpoint in _ENDPOINTS]
        others = [(model, "serialization") for model in SCHEMAS]
        models = [*requests, *responses, *others]
        _, definitions = models_json_schema(models, ref_template=REFERENCE)  # type: ignore[arg-type]
        schemas = document["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        schemas.update(definitions["$defs"])
        document["components"]["securitySchemes"] = {"apiKey": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"apiKey": []}]
        app.openapi_schema = _as_markdown(document)
    return app.openapi_schema
