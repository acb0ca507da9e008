"""``/v1/responses``: OpenAI's Responses API, on top of chat completions and their store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from fastapi import Query
from pydantic import BaseModel
from starlette.responses import Response

from functions.http.dependencies import State, Tenant
from functions.http.dispatch.translation import read_as, translated_response
from functions.http.endpoints.stored_completions import in_store
from functions.http.openapi.error_responses import error_responses
from functions.http.routing import PostRoute, resource_router
from shared.protocol.errors import APIError, invalid
from shared.protocol.openai.responses.chat_request import chat_request, earlier_messages
from shared.protocol.openai.responses.objects import (
    DeletedResponse,
    InputItemList,
    ResponseEvent,
    ResponseObject,
)
from shared.protocol.openai.responses.requests import (
    InputItem,
    ItemReference,
    PromptRequest,
    ResponsesRequest,
)
from shared.protocol.openai.responses.stored import (
    input_items,
    referenced_items,
    stored_number,
    stored_response,
)
from shared.protocol.openai.responses.stream import StreamedAnswer
from shared.protocol.openai.stored_completions import PageQuery, list_object, page_of
from shared.runtime.request_context import request_context

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from functions.http.openapi.post_documentation import PostDocumentation
    from shared.runtime.state import ServerState
    from shared.storage.types import StoredCompletion

_PATH = "/v1/responses"
_MAX_REFERENCED = 32
"""Responses that a request may refer to items of: each is read from the store."""
_PREFIX, _STORED_PREFIX = "resp_", "chatcmpl-"

router = resource_router("responses")


def _documented(model: type[BaseModel], *statuses: int) -> dict[int | str, dict[str, Any]]:
    return {200: {"model": model}, **error_responses(401, *statuses, 404, 503)}


def route(
    state: ServerState,
    create_chat_completion: Callable[[Request], Awaitable[ASGIApp]],
    documentation: PostDocumentation | None = None,
) -> PostRoute:
    """The endpoint, on top of what answers requests for chat completions."""

    async def create_response(request: Request) -> Response:
        """Answer in the dialect of OpenAI's Responses API."""
        asked = await read_as(request, state, ResponsesRequest)
        earlier = await earlier_of(state, asked)

        def translate() -> StreamedAnswer:
            told = chat_request(asked, earlier, stores=state.settings.responses_store)
            return StreamedAnswer(asked, told)

        return await translated_response(request, translate, create_chat_completion)

    return PostRoute(_PATH, create_response, documentation)


@router.get(f"{_PATH}/{{response_id}}", responses=_documented(ResponseObject))
async def get_response(response_id: str, state: State, tenant: Tenant) -> Response:
    """Fetch a response that was stored."""
    found = await _found(state, tenant, response_id, "response_id")
    return _json(stored_response(found, shows_cost=state.settings.usage_cost))


@router.get(f"{_PATH}/{{response_id}}/input_items", responses=_documented(InputItemList, 400))
async def list_input_items(
    response_id: str, query: Annotated[PageQuery, Query()], state: State, tenant: Tenant
) -> Response:
    """List what a response that was stored had as its input."""
    found = await _found(state, tenant, response_id, "response_id")
    items, has_more = page_of(input_items(found), query)
    return _json(list_object(items, has_more=has_more))


@router.delete(f"{_PATH}/{{response_id}}", responses=_documented(DeletedResponse))
async def delete_response(response_id: str, state: State, tenant: Tenant) -> Response:
    """Delete a response that was stored."""
    stored_id = _stored_id(response_id, "response_id")
    if not await in_store(state, lambda store: store.delete(tenant, "chat", stored_id)):
        raise _not_found(response_id, "response_id")
    return _json({"id": response_id, "object": "response", "deleted": True})


@router.post(f"{_PATH}/{{response_id}}/cancel", responses=_documented(ResponseObject, 400))
async def cancel_response(response_id: str, state: State, tenant: Tenant) -> Response:
    """Refuse to cancel: a response ends with its request."""
    await _found(state, tenant, response_id, "response_id")
    raise invalid(
        "Only responses with 'background' can be cancelled, which there are none of here: whoever "
        "closes the connection ends the response.",
        None,
        "unsupported_parameter",
    )


async def earlier_of(state: ServerState, asked: PromptRequest) -> Sequence[Mapping[str, Any]]:
    """The messages of the response that a request goes on from, and its answer.

    In the input, references to items of stored responses become these. Raises `APIError` 400, 404.
    """
    tenant = request_context().caller.tenant
    await _resolve_references(state, tenant, asked)
    if asked.previous_response_id is None:
        return ()
    found = await _found(state, tenant, asked.previous_response_id, "previous_response_id")
    return earlier_messages(found.request, found.response)


async def _resolve_references(state: ServerState, tenant: str, asked: PromptRequest) -> None:
    """Put the items themselves into the input; raises `APIError` 400 and 404."""
    if asked.input is None or isinstance(asked.input, str):
        return
    references = {i: item for i, item in enumerate(asked.input) if isinstance(item, ItemReference)}
    numbers = {stored_number(item.id) for item in references.values()}
    if len(numbers) > _MAX_REFERENCED:
        raise invalid(
            f"'input' refers to items of {len(numbers)} responses: {_MAX_REFERENCED} are the most.",
            "input",
        )
    items: dict[str, InputItem] = {}
    for number in numbers - {None}:
        found = await _stored(state, tenant, f"{_STORED_PREFIX}{number}")
        if found is not None:
            items |= await request_context().on_thread(partial(referenced_items, found))
    for i, reference in references.items():
        if reference.id not in items:
            raise APIError(
                404,
                f"No item with the id '{reference.id[:128]}' is stored. Responses are stored where "
                "'store' is true.",
                param=f"input[{i}].id",
            )
        asked.input[i] = items[reference.id]


def documented() -> PostDocumentation:
    """What the OpenAPI document says of it."""
    from functions.http.openapi.post_documentation import PostDocumentation

    return PostDocumentation(
        tag="responses",
        request=ResponsesRequest,
        response=ResponseObject,
        chunk=ResponseEvent,
        stream_end="of which the last one is `response.completed` or `response.incomplete`",
    )


async def _found(state: ServerState, tenant: str, response_id: str, param: str) -> StoredCompletion:
    found = await _stored(state, tenant, _stored_id(response_id, param))
    if found is None:
        raise _not_found(response_id, param)
    return found


async def _stored(state: ServerState, tenant: str, stored_id: str) -> StoredCompletion | None:
    return await in_store(state, lambda store: store.get(tenant, "chat", stored_id))


def _stored_id(response_id: str, param: str) -> str:
    if not response_id.startswith(_PREFIX):
        raise _not_found(response_id, param)
    return _STORED_PREFIX + response_id.removeprefix(_PREFIX)


def _not_found(response_id: str, param: str) -> APIError:
    status, code = (400, "previous_response_not_found") if "previous" in param else (404, None)
    return APIError(
        status,
        f"No response with the id '{response_id[:128]}' is stored. Responses are stored where "
        "'store' is true.",
        param=param,
        code=code,
    )


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")
