"""What the OpenAPI document says of the resources: models, stored completions, health.

Apart from the routes, since the schemas of requests and answers take longer to import than all that
a function needs which only reads completions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from shared.protocol.openai.stored_completions import MetadataUpdate
from shared.protocol.openai.stored_responses import (
    DeletedCompletion,
    StoredChatCompletion,
    StoredChatCompletionList,
    StoredMessageList,
    StoredTextCompletion,
    StoredTextCompletionList,
)
from shared.protocol.responses import ErrorEnvelope, ModelCard, ModelList

REFERENCE = "#/components/schemas/{model}"
ANSWER = "The answer."
ERRORS = {
    400: "A field is missing, of the wrong type or out of range; `param` says which.",
    401: "No API key, or a wrong one.",
    404: "Unknown model.",
    413: "The body is larger than the limit.",
    429: "The queue is full; see `Retry-After`.",
    503: "The model is still loading; see `Retry-After`.",
}
_STORED_ERRORS = {
    404: "No such stored completion, or the deployment keeps none.",
    503: "The store does not answer; see `Retry-After`.",
}

SCHEMAS: tuple[type[BaseModel], ...] = (
    ModelCard,
    ModelList,
    StoredChatCompletion,
    StoredTextCompletion,
    StoredChatCompletionList,
    StoredTextCompletionList,
    StoredMessageList,
    DeletedCompletion,
    ErrorEnvelope,
)
"""What the answers consist of."""

_LIMIT = {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}
_ORDER = {"type": "string", "enum": ["asc", "desc"], "default": "asc"}
_LIST_PARAMETERS: list[dict[str, Any]] = [
    {"name": "after", "description": "The id that the page follows."},
    {"name": "limit", "description": "How many at most.", "schema": _LIMIT},
    {"name": "order", "description": "Oldest or newest first.", "schema": _ORDER},
]
_FILTERS = [
    {"name": "model", "description": "Completions of this model only."},
    {"name": "metadata[KEY]", "description": "Completions with this pair only; several: with all."},
]

Responses = dict[int | str, dict[str, Any]]
"""An operation's ``responses``: statuses and what the document says of them."""
Operations = dict[str, dict[str, Any]]
"""A path's operations by their methods."""


def answer(model: type[BaseModel]) -> Responses:
    """A 200 with this body."""
    return {200: {"description": ANSWER, "content": content(model)}}


def errors(*statuses: int, texts: Mapping[int, str] = ERRORS) -> Responses:
    """Failures with OpenAI's envelope, told in ``texts``."""
    return {
        status: {"description": texts[status], "content": content(ErrorEnvelope)}
        for status in statuses
    }


def content(model: type[BaseModel]) -> dict[str, Any]:
    """A JSON body."""
    schema = {"$ref": REFERENCE.format(model=model.__name__)}
    return {"application/json": {"schema": schema}}


def resources() -> dict[str, Operations]:
    """The operations of all resources, by path."""
    metrics: Responses = {200: {"description": ANSWER, "content": {"text/plain": {}}}}
    return {
        "/v1/models": {
            "get": _operation(
                "models",
                "list_models",
                "List the models that are served",
                answer(ModelList) | errors(401, 503),
            )
        },
        "/v1/models/{model}": {
            "get": _operation(
                "models",
                "get_model",
                "Describe a model, by any of its names",
                answer(ModelCard) | errors(401, 404, 503),
                _path_parameter("model"),
            )
        },
        "/health": {"get": _health()},
        "/metrics": {
            "get": _operation(
                "operations",
                "get_metrics",
                "Read counters, gauges and histograms in Prometheus' text format",
                metrics | errors(401),
            )
        },
        **_stored("chat", "/v1/chat/completions", StoredChatCompletion, StoredChatCompletionList),
        **_stored("text", "/v1/completions", StoredTextCompletion, StoredTextCompletionList),
    }


def _health() -> dict[str, Any]:
    schema = {"type": "object", "additionalProperties": {"type": "string"}}
    body: Responses = {
        200: {"description": ANSWER, "content": {"application/json": {"schema": schema}}}
    }
    operation = _operation(
        "operations", "get_health", "Tell whether requests are served", body | errors(503)
    )
    operation["description"] = (
        "200, or 503 while the model loads (with the progress), while the server shuts down, and "
        "when the engine has died or has been stuck for minutes."
    )
    return operation


def _stored(
    kind: str, path: str, item: type[BaseModel], items: type[BaseModel]
) -> dict[str, Operations]:
    name = f"{kind}_completion"

    def operation(
        identity: str, summary: str, responses: Responses, *parameters: dict[str, Any]
    ) -> dict[str, Any]:
        responses |= errors(401) | errors(404, 503, texts=_STORED_ERRORS)
        return _operation("stored completions", identity, summary, responses, *parameters)

    which = _path_parameter("completion_id")
    update = operation(
        f"update_{name}",
        "Replace a stored completion's metadata",
        answer(item) | errors(400, 413),
        which,
    )
    update["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": MetadataUpdate.model_json_schema()}},
    }
    return {
        path: {
            "get": operation(
                f"list_{name}s",
                "List stored completions",
                answer(items) | errors(400),
                *_query(*_LIST_PARAMETERS, *_FILTERS),
            )
        },
        f"{path}/{{completion_id}}": {
            "get": operation(f"get_{name}", "Fetch a stored completion", answer(item), which),
            "post": update,
            "delete": operation(
                f"delete_{name}",
                "Delete a stored completion, body and all",
                answer(DeletedCompletion),
                which,
            ),
        },
        f"{path}/{{completion_id}}/messages": {
            "get": operation(
                f"list_{name}_messages",
                "List the messages of a stored completion's request",
                answer(StoredMessageList) | errors(400),
                which,
                *_query(*_LIST_PARAMETERS),
            )
        },
    }


def _operation(
    tag: str, identity: str, summary: str, responses: Responses, *parameters: dict[str, Any]
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "tags": [tag],
        "summary": summary,
        "operationId": identity,
        "responses": {str(status): responses[status] for status in sorted(responses, key=str)},
    }
    if parameters:
        operation["parameters"] = list(parameters)
    return operation


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query(*parameters: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"in": "query", "schema": {"type": "string"}, **p} for p in parameters]
