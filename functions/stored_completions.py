"""The stored-completions resource, of chat and of text completions alike. Needs no model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import orjson
from fastapi import APIRouter, Request
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from functions.documentation import answer, errors
from functions.inference import ignored_header, parse_body
from functions.state import ServerState, StoreT
from functions.storing import store_unavailable
from shared.models.defaults import served_names
from shared.protocol.errors import from_validation_error
from shared.protocol.stored import (
    ListQuery,
    MetadataUpdate,
    completion_not_found,
    list_object,
    messages_of,
    page_of,
    query_data,
    stored_object,
)
from shared.protocol.stored_responses import (
    DeletedCompletion,
    StoredChatCompletion,
    StoredChatCompletionList,
    StoredMessageList,
    StoredTextCompletion,
    StoredTextCompletionList,
)
from shared.storage.base import CompletionStore, StoreError
from shared.storage.types import Kind, StoredCompletion

_log = logging.getLogger("pilotlight.store")

_KINDS: dict[Kind, tuple[str, str]] = {
    "chat": ("/v1/chat/completions", "chat.completion.deleted"),
    "text": ("/v1/completions", "text_completion.deleted"),
}
_ITEMS: dict[Kind, type[BaseModel]] = {"chat": StoredChatCompletion, "text": StoredTextCompletion}
_LISTS: dict[Kind, type[BaseModel]] = {
    "chat": StoredChatCompletionList,
    "text": StoredTextCompletionList,
}
_ERRORS = {
    404: "No such stored completion, or the deployment keeps none.",
    503: "The store does not answer; see `Retry-After`.",
}
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


def router(state: ServerState) -> APIRouter:
    """List, fetch, update and delete what requests with ``store: true`` left."""
    routes = APIRouter(
        tags=["stored completions"], responses=errors(401) | errors(404, 503, texts=_ERRORS)
    )
    for kind, (path, deleted) in _KINDS.items():
        _add_routes(routes, state, kind, path, deleted)
    return routes


def _add_routes(routes: APIRouter, state: ServerState, kind: Kind, path: str, deleted: str) -> None:
    name = f"{kind}_completion"

    @routes.get(
        path,
        operation_id=f"list_{name}s",
        openapi_extra=_query(*_LIST_PARAMETERS, *_FILTERS),
        responses=answer(_LISTS[kind]) | errors(400),
    )
    async def list_completions(request: Request) -> Response:
        """List stored completions."""
        query, headers = _parsed_query(request)
        names = served_names(state.settings)
        if query.model in names:  # by whichever name it was asked, it is stored by the first
            query.model = names[0]
        asked = query.completions(state.caller(request).tenant, kind)
        page = await _in_store(state, lambda store: store.list(asked))
        shown = [stored_object(completion) for completion in page.completions]
        return _json(list_object(shown, has_more=page.has_more), headers)

    @routes.get(
        f"{path}/{{completion_id}}", operation_id=f"get_{name}", responses=answer(_ITEMS[kind])
    )
    async def get_completion(request: Request, completion_id: str) -> Response:
        """Fetch a stored completion."""
        return _json(stored_object(await _found(state, request, kind, completion_id)))

    @routes.post(
        f"{path}/{{completion_id}}",
        operation_id=f"update_{name}",
        responses=answer(_ITEMS[kind]) | errors(400, 413),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": MetadataUpdate.model_json_schema()}},
            }
        },
    )
    async def update_completion(request: Request, completion_id: str) -> Response:
        """Replace a stored completion's metadata."""
        metadata = (await parse_body(request, MetadataUpdate, state)).metadata or {}
        tenant = state.caller(request).tenant
        updated = await _in_store(
            state, lambda store: store.update_metadata(tenant, kind, completion_id, metadata)
        )
        if updated is None:
            raise completion_not_found(completion_id)
        return _json(stored_object(updated))

    @routes.delete(
        f"{path}/{{completion_id}}",
        operation_id=f"delete_{name}",
        responses=answer(DeletedCompletion),
    )
    async def delete_completion(request: Request, completion_id: str) -> Response:
        """Delete a stored completion, body and all."""
        tenant = state.caller(request).tenant
        if not await _in_store(state, lambda store: store.delete(tenant, kind, completion_id)):
            raise completion_not_found(completion_id)
        return _json({"id": completion_id, "object": deleted, "deleted": True})

    @routes.get(
        f"{path}/{{completion_id}}/messages",
        operation_id=f"list_{name}_messages",
        responses=answer(StoredMessageList) | errors(400),
        openapi_extra=_query(*_LIST_PARAMETERS),
    )
    async def list_messages(request: Request, completion_id: str) -> Response:
        """List the messages of a stored completion's request."""
        query, headers = _parsed_query(request)
        completion = await _found(state, request, kind, completion_id)
        messages, has_more = page_of(messages_of(completion), query)
        return _json(list_object(messages, has_more=has_more), headers)


async def _found(
    state: ServerState, request: Request, kind: Kind, completion_id: str
) -> StoredCompletion:
    tenant = state.caller(request).tenant
    found = await _in_store(state, lambda store: store.get(tenant, kind, completion_id))
    if found is None:
        raise completion_not_found(completion_id)
    return found


async def _in_store(state: ServerState, work: Callable[[CompletionStore], StoreT]) -> StoreT:
    """`ServerState.in_store`, whose failure becomes 503."""
    try:
        return await state.in_store(work)
    except StoreError as error:
        _log.error("the store failed: %s", error)
        raise store_unavailable() from None


def _parsed_query(request: Request) -> tuple[ListQuery, dict[str, str]]:
    """The query string, and headers that name what has no effect; raises `APIError` 400."""
    data, unknown = query_data(request.query_params.multi_items())
    try:
        query = ListQuery.model_validate_strings(data)
    except ValidationError as error:
        raise from_validation_error(error, orjson.dumps(data)) from None
    return query, ignored_header(sorted(unknown))


def _query(*parameters: dict[str, Any]) -> dict[str, Any]:
    return {"parameters": [{"in": "query", "schema": {"type": "string"}, **p} for p in parameters]}


def _json(value: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), media_type="application/json", headers=headers)
