"""Pagination of a store: pages in which damaged completions are passed over."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from shared.storage.base import DamagedCompletionError
from shared.storage.types import Page, StoredCompletion

_log = logging.getLogger("pilotlight.store")

Found = StoredCompletion | DamagedCompletionError
"""A completion, or what is wrong with it."""


def page_of(found: Iterator[Found], behind: Iterator[object], limit: int) -> Page:
    """The first ``limit`` completions of those ``found``, of which no more are read.

    ``behind`` has what follows then, bodies unread if that is cheaper. A damaged completion is
    logged and counted by the page that ends behind it, so that all pages count it once.
    """
    completions: list[StoredCompletion] = []
    damaged: list[DamagedCompletionError] = []
    while len(completions) < limit and (each := next(found, None)) is not None:
        if isinstance(each, DamagedCompletionError):
            damaged.append(each)
        else:
            completions.append(each)
    ahead: list[DamagedCompletionError] = []
    has_more = False
    for following in behind:
        if not isinstance(following, DamagedCompletionError):
            has_more = True
            break
        ahead.append(following)
    if not has_more:
        damaged += ahead
    for damage in damaged:
        _log.error("passed over: %s", damage)
    ids = [damage.completion_id for damage in damaged]
    return Page(completions=completions, has_more=has_more, damaged=ids)
