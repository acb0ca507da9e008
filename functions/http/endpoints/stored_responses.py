"""``/v1/responses/{id}``: responses that are stored, or run in the background."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from pydantic import BaseModel
from starlette.responses import Response

from functions.http.dependencies import State, Tenant
from functions.http.dispatch.background import (
    event_response,
)
from functions.http.endpoints.earlier_responses import (
    of_response,
    response_not_found,
    stored_id_of,
)
from functions.http.fastapi_import import Query
from functions.http.openapi.error_responses import error_responses
from functions.http.resource_routing import resource_router
from functions.http.store_access import in_store
from shared.protocol.errors import APIError, invalid
from shared.protocol.openai.responses.objects import (
    DeletedResponse,
    InputItemList,
    ResponseObject,
)
from shared.protocol.openai.responses.stored import (
    input_items,
    stored_response,
)
from shared.protocol.openai.stored_completions import PageQuery, list_object, page_of
from shared.runtime.request_context import request_context

if TYPE_CHECKING:
    from shared.runtime.background_responses import BackgroundResponse
    from shared.runtime.state import ServerState
    from shared.runtime.stores import ResultT
    from shared.storage.types import StoredCompletion

_PATH = "/v1/responses"

router = resource_router("responses")


def _documented(model: type[BaseModel], *statuses: int) -> dict[int | str, dict[str, Any]]:
    return {200: {"model": model}, **error_responses(401, *statuses, 404, 503)}


@router.get(f"{_PATH}/{{response_id}}", responses=_documented(ResponseObject, 400))
async def get_response(
    response_id: str,
    state: State,
    tenant: Tenant,
    stream: bool = False,
    starting_after: Annotated[int, Query(ge=-1)] = -1,
) -> Response:
    """Fetch a response that was stored, or runs in the background.

    With `stream`, the events of one in the background behind the one of number `starting_after`.
    """
    running = _in_background(state, tenant, response_id)
    if stream:
        if running is None or not running.is_streamed:
            await _shown(state, tenant, response_id, running)  # 404 where there is none
            raise invalid(
                "There are no events of this response: only of those that were asked for with "
                "'background' and 'stream', while they run and for some minutes more.",
                "stream",
            )
        return event_response(running, starting_after)
    shown, _ = await _shown(state, tenant, response_id, running)
    return _response(shown)


@router.get(f"{_PATH}/{{response_id}}/input_items", responses=_documented(InputItemList, 400))
async def list_input_items(
    response_id: str, query: Annotated[PageQuery, Query()], state: State, tenant: Tenant
) -> Response:
    """List what a response had as its input that was stored, or runs in the background."""

    def listed(completion_id: str, sent: Mapping[str, Any]) -> bytes:
        items, has_more = page_of(input_items(completion_id, sent), query)
        return orjson.dumps(list_object(items, has_more=has_more))

    def stored(found: StoredCompletion) -> bytes:
        return listed(found.id, found.request)

    def unstored(running: BackgroundResponse) -> bytes:
        return listed(stored_id_of(running.id, "response_id"), orjson.loads(running.asked))

    running = _in_background(state, tenant, response_id)
    made = _read(state, tenant, response_id, running, stored=stored, unstored=unstored)
    return _response(await made)


@router.delete(f"{_PATH}/{{response_id}}", responses=_documented(DeletedResponse, 400))
async def delete_response(response_id: str, state: State, tenant: Tenant) -> Response:
    """Delete a response that was stored."""
    running = _in_background(state, tenant, response_id)
    if running is not None and not running.is_done:
        raise invalid("The response is not done yet: cancel it first.", "response_id")
    stored_id = stored_id_of(response_id, "response_id")
    if not await in_store(state, lambda store: store.delete(tenant, "chat", stored_id)):
        raise response_not_found(response_id, "response_id")
    if running is not None and state.background is not None:
        state.background.forget(running)
    return _response(orjson.dumps({"id": response_id, "object": "response", "deleted": True}))


@router.post(f"{_PATH}/{{response_id}}/cancel", responses=_documented(ResponseObject, 400))
async def cancel_response(response_id: str, state: State, tenant: Tenant) -> Response:
    """Cancel a response that runs in the background; it is stored with what there is.

    One that has ended stays as it is.
    """
    running = _in_background(state, tenant, response_id)
    if running is not None and not running.is_done:
        running.cancel()
        await running.wait_for_end()
    shown, is_in_background = await _shown(state, tenant, response_id, running)
    if not is_in_background:
        raise invalid(
            "Only responses with 'background' can be cancelled. Whoever closes the connection of "
            "another one ends it.",
            None,
            "unsupported_parameter",
        )
    return _response(shown)


def _in_background(state: ServerState, tenant: str, response_id: str) -> BackgroundResponse | None:
    return None if state.background is None else state.background.get(tenant, response_id)


async def _shown(
    state: ServerState, tenant: str, response_id: str, running: BackgroundResponse | None
) -> tuple[bytes, bool]:
    """The response's JSON.

    Also whether it runs, or has run, in the background. Raises `APIError` 404.
    """

    def stored(found: StoredCompletion) -> tuple[bytes, bool]:
        shown = stored_response(found, shows_cost=state.settings.usage_cost)
        return orjson.dumps(shown), bool(shown["background"])

    def unstored(running: BackgroundResponse) -> tuple[bytes, bool]:
        return running.response, True

    return await _read(state, tenant, response_id, running, stored=stored, unstored=unstored)


async def _read(
    state: ServerState,
    tenant: str,
    response_id: str,
    running: BackgroundResponse | None,
    *,
    stored: Callable[[StoredCompletion], ResultT],
    unstored: Callable[[BackgroundResponse], ResultT],
) -> ResultT:
    """What is made of a response on a thread, as it is stored or as far as it has come.

    Raises `APIError` 404.
    """
    if running is None:
        return await of_response(state, tenant, response_id, "response_id", stored)
    if running.is_done:
        with suppress(APIError):  # the store has failed, which is in the log
            return await of_response(state, tenant, response_id, "response_id", stored)
    return await request_context().on_thread(lambda: unstored(running))


def _response(body: bytes) -> Response:
    return Response(body, media_type="application/json")
