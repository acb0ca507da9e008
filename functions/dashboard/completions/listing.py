"""A page of a list of completions, newest first, with cursors in both directions.

A page reads what a page of the API reads. Where no index has a filter, up to `MAX_READ` completions
are read, and the page says how far that went.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from functions.dashboard.completions.filters import Filters
from shared.storage.base import CompletionStore
from shared.storage.types import CompletionQuery, StoredCompletion

PAGE_SIZE = 25
MAX_READ = 100
"""As many as a page of the API may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A page of completions, newest first.

    - ``newer``, ``older``: ids that the pages beside it begin behind; None where there is none.
    - ``n_read``: how many completions were read.
    - ``is_cut``: whether there may be more matches that were not looked for.
    - ``damaged``: ids of completions that can't be read.
    """

    completions: Sequence[StoredCompletion]
    newer: str | None
    older: str | None
    n_read: int
    is_cut: bool
    damaged: Sequence[str]


def list_page(store: CompletionStore, query: CompletionQuery, filters: Filters) -> Listing:
    """The page that ``query`` asks for; raises `StoreError`."""
    found: list[StoredCompletion] = []
    damaged: list[str] = []
    cursor, n_read, has_more = query.after, 0, True
    first: str | None = None
    while has_more and len(found) < PAGE_SIZE and n_read < MAX_READ:
        page = store.list(replace(query, after=cursor, limit=PAGE_SIZE))
        damaged += page.damaged
        has_more = page.has_more
        for completion in page.completions:
            n_read += 1
            cursor = completion.id
            first = first or cursor
            if filters.matches(completion):
                found.append(completion)
                if len(found) == PAGE_SIZE:
                    has_more |= completion is not page.completions[-1]
                    break
        if not page.completions:
            break
    is_cut = has_more and len(found) < PAGE_SIZE
    behind = cursor if has_more else None
    if query.order == "asc":
        found.reverse()
        newer, older = behind, first or query.after
    else:
        newer, older = query.after and (first or query.after), behind
    return Listing(
        completions=found, newer=newer, older=older, n_read=n_read, is_cut=is_cut, damaged=damaged
    )
