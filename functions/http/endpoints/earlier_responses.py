"""Stored responses that requests name: to go on from, and items of theirs in the input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from functions.http.store_access import in_store
from shared.protocol.errors import APIError, invalid
from shared.protocol.openai.responses.chat_request import earlier_messages
from shared.protocol.openai.responses.requests import InputItem, ItemReference, PromptRequest
from shared.protocol.openai.responses.stored import referenced_items, stored_number
from shared.runtime.request_context import request_context

if TYPE_CHECKING:
    from shared.runtime.state import ServerState
    from shared.runtime.stores import ResultT
    from shared.storage.base import CompletionStore
    from shared.storage.types import StoredCompletion

_MAX_REFERENCED = 32
"""Responses that a request may refer to items of: each is read from the store."""
_PREFIX, _STORED_PREFIX = "resp_", "chatcmpl-"


async def earlier_of(state: ServerState, asked: PromptRequest) -> Sequence[Mapping[str, Any]]:
    """The messages of the response that a request goes on from, and its answer.

    In the input, references to items of stored responses become these. Raises `APIError` 400, 404.
    """
    tenant = request_context().caller.tenant
    await _resolve_references(state, tenant, asked)
    if asked.previous_response_id is None:
        return ()
    if state.background is not None:
        running = state.background.get(tenant, asked.previous_response_id)
        if running is not None and not running.is_done:
            raise invalid(
                f"The response '{running.id}' is not done yet: wait for its end, or cancel it.",
                "previous_response_id",
                "previous_response_not_found",
            )
    return await of_response(
        state,
        tenant,
        asked.previous_response_id,
        "previous_response_id",
        lambda found: earlier_messages(found.request, found.response),
    )


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
        stored_id = f"{_STORED_PREFIX}{number}"
        items |= await _of_stored(state, tenant, stored_id, referenced_items) or {}
    for i, reference in references.items():
        if reference.id not in items:
            raise APIError(
                404,
                f"No item with the id '{reference.id[:128]}' is stored. Responses are stored where "
                "'store' is true.",
                param=f"input[{i}].id",
            )
        asked.input[i] = items[reference.id]


async def of_response(
    state: ServerState,
    tenant: str,
    response_id: str,
    param: str,
    use: Callable[[StoredCompletion], ResultT],
) -> ResultT:
    """What ``use`` makes of a response's stored completion; raises `APIError` 404, 400.

    It is called on the store's thread, and the completion forgotten there: one with many log
    probabilities is megabytes.
    """
    made = await _of_stored(state, tenant, stored_id_of(response_id, param), use)
    if made is None:
        raise response_not_found(response_id, param)
    return made


async def _of_stored(
    state: ServerState, tenant: str, stored_id: str, use: Callable[[StoredCompletion], ResultT]
) -> ResultT | None:
    def used(store: CompletionStore) -> ResultT | None:
        found = store.get(tenant, "chat", stored_id)
        return None if found is None else use(found)

    return await in_store(state, used)


def stored_id_of(response_id: str, param: str) -> str:
    """The id of its stored completion; raises `APIError`."""
    if not response_id.startswith(_PREFIX):
        raise response_not_found(response_id, param)
    return _STORED_PREFIX + response_id.removeprefix(_PREFIX)


def response_not_found(response_id: str, param: str) -> APIError:
    """404, or 400 for the one that a request goes on from."""
    status, code = (400, "previous_response_not_found") if "previous" in param else (404, None)
    return APIError(
        status,
        f"No response with the id '{response_id[:128]}' is stored. Responses are stored where "
        "'store' is true.",
        param=param,
        code=code,
    )
