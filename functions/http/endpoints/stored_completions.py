"""The stored-completions resource, of chat and of text completions alike. Needs no model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import orjson
from pydantic import BaseModel
from starlette.responses import Response

from functions.http.dependencies import State, Tenant
from functions.http.fastapi_import import APIRouter, Query
from functions.http.openapi.error_responses import error_responses
from functions.http.resource_routing import resource_router
from functions.http.store_access import in_store
from shared.protocol.openai.stored_completions import (
    ListQuery,
    MetadataUpdate,
    PageQuery,
    completion_not_found,
    list_object,
    messages_of,
    page_of,
    stored_object,
)
from shared.protocol.openai.stored_responses import (
    DeletedCompletion,
    StoredChatCompletion,
    StoredChatCompletionList,
    StoredMessageList,
    StoredTextCompletion,
    StoredTextCompletionList,
)
from shared.runtime.state import ServerState
from shared.storage.base import CompletionStore
from shared.storage.types import Kind, StoredCompletion

_MEANINGS = {
    404: "No such stored completion, or the deployment keeps none.",
    503: "The store does not answer; see `Retry-After`.",
}


def _router(
    kind: Kind, path: str, deleted: str, item: type[BaseModel], items: type[BaseModel]
) -> APIRouter:
    """Endpoints to list, fetch, update and delete what requests with ``store: true`` left.

    Bodies are written from what is stored, without a response model: validation would take its
    time for each completion of a page, and might change what an older version has stored.
    """
    router = resource_router("stored completions")
    one, name = f"{path}/{{completion_id}}", f"{kind}_completion"

    def documented(model: type[BaseModel], *statuses: int) -> dict[int | str, dict[str, Any]]:
        failures = error_responses(401, *statuses)
        return {200: {"model": model}, **failures, **error_responses(404, 503, meanings=_MEANINGS)}

    @router.get(path, name=f"list_{name}s", responses=documented(items, 400))
    async def list_completions(
        query: Annotated[ListQuery, Query()], state: State, tenant: Tenant
    ) -> Response:
        """List stored completions."""
        if query.model is not None and (model := state.models.get(query.model)) is not None:
            query.model = model.name  # by whichever name it was asked, it is stored by the first
        asked = query.completions(tenant, kind)

        def listed(store: CompletionStore) -> object:
            page = store.list(asked)
            shown = [stored_object(completion) for completion in page.completions]
            return list_object(shown, has_more=page.has_more, damaged=page.damaged)

        return await _response(state, listed)

    @router.get(one, name=f"get_{name}", responses=documented(item))
    async def get_completion(completion_id: str, state: State, tenant: Tenant) -> Response:
        """Fetch a stored completion."""
        return await _response(
            state, lambda store: stored_object(_found(store, tenant, kind, completion_id))
        )

    @router.post(one, name=f"update_{name}", responses=documented(item, 400, 413))
    async def update_completion(
        completion_id: str, update: MetadataUpdate, state: State, tenant: Tenant
    ) -> Response:
        """Replace a stored completion's metadata."""
        metadata = update.metadata or {}

        def updated(store: CompletionStore) -> object:
            found = store.update_metadata(tenant, kind, completion_id, metadata)
            if found is None:
                raise completion_not_found(completion_id)
            return stored_object(found)

        return await _response(state, updated)

    @router.delete(one, name=f"delete_{name}", responses=documented(DeletedCompletion))
    async def delete_completion(completion_id: str, state: State, tenant: Tenant) -> Response:
        """Delete a stored completion, body and all."""

        def deletion(store: CompletionStore) -> object:
            if not store.delete(tenant, kind, completion_id):
                raise completion_not_found(completion_id)
            return {"id": completion_id, "object": deleted, "deleted": True}

        return await _response(state, deletion)

    @router.get(
        f"{one}/messages",
        name=f"list_{name}_messages",
        responses=documented(StoredMessageList, 400),
    )
    async def list_messages(
        completion_id: str, query: Annotated[PageQuery, Query()], state: State, tenant: Tenant
    ) -> Response:
        """List the messages of a stored completion's request."""

        def listed(store: CompletionStore) -> object:
            sent = messages_of(_found(store, tenant, kind, completion_id))
            messages, has_more = page_of(sent, query)
            return list_object(messages, has_more=has_more)

        return await _response(state, listed)

    return router


routers = (
    _router(
        "chat",
        "/v1/chat/completions",
        "chat.completion.deleted",
        StoredChatCompletion,
        StoredChatCompletionList,
    ),
    _router(
        "text",
        "/v1/completions",
        "text_completion.deleted",
        StoredTextCompletion,
        StoredTextCompletionList,
    ),
)


def _found(store: CompletionStore, tenant: str, kind: Kind, completion_id: str) -> StoredCompletion:
    found = store.get(tenant, kind, completion_id)
    if found is None:
        raise completion_not_found(completion_id)
    return found


async def _response(state: ServerState, find: Callable[[CompletionStore], object]) -> Response:
    """Response of what ``find`` gives; written on the store's thread, too, and forgotten there.

    A page of completions with log probabilities is megabytes: 18 of them took 50 ms.
    """
    body = await in_store(state, lambda store: orjson.dumps(find(store)))
    return Response(body, media_type="application/json")
