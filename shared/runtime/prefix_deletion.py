"""Deletion of a tenant's prefixes: in the models of this server, and in the store of prefixes."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.config.settings import Settings
    from shared.runtime.state import ServerState

_log = logging.getLogger("pilotlight.prefixes")


async def forget_prefixes(state: ServerState, tenant: str) -> None:
    """Delete what is kept of a tenant's prompts.

    A store that can't be reached is logged, and no error: what it has expires, and nobody else
    finds it. Other servers keep what they have in memory.
    """
    for served in state.models.loaded():
        served.engine.forget(tenant)
    if state.settings.prefix_store:
        await asyncio.to_thread(_delete_stored, state.settings, tenant)


def _delete_stored(settings: Settings, tenant: str) -> None:
    from shared.engine.prefixes.store import BlockStoreError
    from shared.storage.prefixes.files import PrefixFilter, matching
    from shared.storage.prefixes.location import open_prefix_store

    store = open_prefix_store(
        settings.prefix_store,
        budget=settings.prefix_store_size,
        max_age=settings.prefix_store_hours * 3600,
    )
    try:
        store.delete(file.path for file in matching(store, PrefixFilter(tenant=tenant)))
    except BlockStoreError as error:
        _log.error("prefixes of %s are not deleted: %s", tenant, error)
    finally:
        store.close()
