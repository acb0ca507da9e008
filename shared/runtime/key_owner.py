"""Owner of an API key, by the settings or the accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.runtime.caller import Caller
    from shared.runtime.state import ServerState


async def owner_of_key(state: ServerState, key: bytes) -> Caller | None:
    """Whose ``key`` is, None if it is nobody's; raises `StoreError`."""
    caller = state.keys.owner(key)
    if caller is not None or state.key_cache is None:
        return caller
    return await state.key_cache.caller(key)
