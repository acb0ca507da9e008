"""Shorthands for listing."""

from __future__ import annotations

from typing import Any

from shared.storage.base import CompletionStore
from shared.storage.types import CompletionQuery, StoredCompletion


def listed(store: CompletionStore, tenant: str, **query: Any) -> list[StoredCompletion]:
    """The one page of all that ``query`` finds."""
    fields: dict[str, Any] = {"tenant": tenant, "kind": "chat", "limit": 100}
    page = store.list(CompletionQuery(**(fields | query)))
    assert not page.has_more
    return list(page.completions)


def listed_ids(store: CompletionStore, tenant: str, **query: Any) -> list[str]:
    """Their ids."""
    return [completion.id for completion in listed(store, tenant, **query)]


def pages_of_ids(store: CompletionStore, query: CompletionQuery) -> list[list[str]]:
    """The ids of all pages from ``query``'s on, each continued from the last id before it."""
    pages = []
    fields = {name: getattr(query, name) for name in CompletionQuery.__slots__}
    while True:
        page = store.list(CompletionQuery(**fields))
        pages.append([completion.id for completion in page.completions])
        if not page.has_more:
            return pages
        fields["after"] = pages[-1][-1]
