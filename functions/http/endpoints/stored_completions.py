"""The stored-completions resource, of chat and of text completions alike. Needs no model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from functions.http.request_body import parse_body
from functions.http.routing import PostRoute
from shared.completion.headers import ignored_header
from shared.protocol.errors import APIError
from shared.protocol.openai.stored_completions import (
    ListQuery,
    MetadataUpdate,
    completion_damaged,
    completion_not_found,
    list_object,
    messages_of,
    page_of,
    query_data,
    store_unavailable,
    stored_object,
)
from shared.protocol.validation_errors import from_validation_error
from shared.runtime.request_context import request_context
from shared.runtime.state import ServerState, StoreT
from shared.storage.base import CompletionStore, DamagedCompletionError, StoreError
from shared.storage.types import Kind, StoredCompletion

_log = logging.getLogger("pilotlight.store")

_KINDS: dict[Kind, tuple[str, str]] = {
    "chat": ("/v1/chat/completions", "chat.completion.deleted"),
    "text": ("/v1/completions", "text_completion.deleted"),
}


def routes(state: ServerState) -> list[Route]:
    """List, fetch, update and delete what requests with ``store: true`` left.

    Not FastAPI's: with them, a function that serves nothing else would take twice as long to start.
    """
    return [
        route
        for kind, (path, deleted) in _KINDS.items()
        for route in _routes(state, kind, path, deleted)
    ]


def _routes(state: ServerState, kind: Kind, path: str, deleted: str) -> list[Route]:
    async def list_completions(request: Request) -> Response:
        query, headers = _parsed_query(request)
        names = state.settings.served_names
        if query.model in names:  # by whichever name it was asked, it is stored by the first
            query.model = names[0]
        asked = query.completions(request_context().caller.tenant, kind)
        page = await _in_store(state, lambda store: store.list(asked))
        shown = [stored_object(completion) for completion in page.completions]
        listed = list_object(shown, has_more=page.has_more, damaged=page.damaged)
        return _json(listed, headers)

    async def get_completion(request: Request) -> Response:
        return _json(stored_object(await _found(state, request, kind)))

    async def update_completion(request: Request) -> Response:
        metadata = (await parse_body(request, MetadataUpdate, state)).metadata or {}
        tenant, completion_id = request_context().caller.tenant, _id(request)
        updated = await _in_store(
            state, lambda store: store.update_metadata(tenant, kind, completion_id, metadata)
        )
        if updated is None:
            raise completion_not_found(completion_id)
        return _json(stored_object(updated))

    async def delete_completion(request: Request) -> Response:
        tenant, completion_id = request_context().caller.tenant, _id(request)
        if not await _in_store(state, lambda store: store.delete(tenant, kind, completion_id)):
            raise completion_not_found(completion_id)
        return _json({"id": completion_id, "object": deleted, "deleted": True})

    async def list_messages(request: Request) -> Response:
        query, headers = _parsed_query(request)
        completion = await _found(state, request, kind)
        try:
            sent = messages_of(completion)
        except DamagedCompletionError as damage:
            raise _damaged(damage) from None
        messages, has_more = page_of(sent, query)
        return _json(list_object(messages, has_more=has_more), headers)

    item = f"{path}/{{completion_id}}"
    return [
        Route(path, list_completions, methods=["GET"]),
        Route(item, get_completion, methods=["GET"]),
        PostRoute(item, update_completion),
        Route(item, delete_completion, methods=["DELETE"]),
        Route(f"{item}/messages", list_messages, methods=["GET"]),
    ]


def _id(request: Request) -> str:
    return str(request.path_params["completion_id"])


async def _found(state: ServerState, request: Request, kind: Kind) -> StoredCompletion:
    tenant, completion_id = request_context().caller.tenant, _id(request)
    found = await _in_store(state, lambda store: store.get(tenant, kind, completion_id))
    if found is None:
        raise completion_not_found(completion_id)
    return found


async def _in_store(state: ServerState, work: Callable[[CompletionStore], StoreT]) -> StoreT:
    """`ServerState.in_store`, whose failure becomes 503, and 500 if one completion is damaged."""
    try:
        return await state.in_store(work)
    except DamagedCompletionError as damage:
        raise _damaged(damage) from None
    except StoreError as error:
        _log.error("the store failed: %s", error)
        raise store_unavailable() from None


def _damaged(damage: DamagedCompletionError) -> APIError:
    _log.error("%s", damage)
    return completion_damaged(damage.completion_id)


def _parsed_query(request: Request) -> tuple[ListQuery, dict[str, str]]:
    """The query string, and headers that name what has no effect; raises `APIError` 400."""
    data, unknown = query_data(request.query_params.multi_items())
    try:
        query = ListQuery.model_validate_strings(data)
    except ValidationError as error:
        raise from_validation_error(error, data) from None
    return query, ignored_header(sorted(unknown))


def _json(value: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), media_type="application/json", headers=headers)
