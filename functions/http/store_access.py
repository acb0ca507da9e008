"""Store of completions for handlers: its failures are errors of the API."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from shared.protocol.openai.stored_completions import completion_damaged, store_unavailable
from shared.storage.base import DamagedCompletionError, StoreError

if TYPE_CHECKING:
    from shared.runtime.state import ServerState
    from shared.runtime.stores import ResultT
    from shared.storage.base import CompletionStore

_log = logging.getLogger("pilotlight.store")


async def in_store(state: ServerState, work: Callable[[CompletionStore], ResultT]) -> ResultT:
    """`Stores.in_store`, whose failure becomes 503, and 500 if one completion is damaged."""
    try:
        return await state.stores.in_store(work)
    except DamagedCompletionError as damage:
        _log.error("%s", damage)
        raise completion_damaged(damage.completion_id) from None
    except StoreError as error:
        _log.error("the store failed: %s", error)
        raise store_unavailable() from None
