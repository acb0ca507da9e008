"""What a store promises, in the plainest words: a dict, and lists made by looking at all of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from shared.storage.base import CompletionStore
from shared.storage.types import CompletionQuery, Kind, Page, StoredCompletion, id_time


class ReferenceStore(CompletionStore):
    """Keeps completions until the test ends."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, str], StoredCompletion] = {}

    def put(self, completion: StoredCompletion) -> None:
        self._kept.setdefault((completion.tenant, completion.kind, completion.id), completion)

    def get(self, tenant: str, kind: Kind, completion_id: str) -> StoredCompletion | None:
        found = self._kept.get((tenant, kind, completion_id))
        return found if found is not None and _is_visible(found) else None

    def list(self, query: CompletionQuery) -> Page:
        found = [completion for completion in self._kept.values() if _matches(completion, query)]
        found.sort(key=lambda completion: completion.id, reverse=query.order == "desc")
        return Page(completions=found[: query.limit], has_more=len(found) > query.limit)

    def update_metadata(
        self, tenant: str, kind: Kind, completion_id: str, metadata: Mapping[str, str]
    ) -> StoredCompletion | None:
        found = self.get(tenant, kind, completion_id)
        if found is None:
            return None
        self._kept[tenant, kind, completion_id] = replace(found, metadata=dict(metadata))
        return self._kept[tenant, kind, completion_id]

    def delete(self, tenant: str, kind: Kind, completion_id: str) -> bool:
        found = self.get(tenant, kind, completion_id)
        if found is not None:
            del self._kept[tenant, kind, completion_id]
        return found is not None

    def initialize(self) -> None:
        pass

    def sweep(self) -> int:
        expired = [key for key, kept in self._kept.items() if not _is_visible(kept)]
        for key in expired:
            del self._kept[key]
        return len(expired)

    def close(self) -> None:
        pass


def _is_visible(completion: StoredCompletion) -> bool:
    return completion.expires_at is None or completion.expires_at > time.time()


def _matches(completion: StoredCompletion, query: CompletionQuery) -> bool:
    made = id_time(completion.id)
    return (
        (completion.tenant, completion.kind) == (query.tenant, query.kind)
        and _is_visible(completion)
        and query.model in (None, completion.model)
        and query.metadata.items() <= completion.metadata.items()
        and (query.since is None or made >= query.since)
        and (query.until is None or made < query.until)
        and (query.after is None or _follows(completion.id, query.after, query.order))
    )


def _follows(completion_id: str, after: str, order: str) -> bool:
    return completion_id > after if order == "asc" else completion_id < after
