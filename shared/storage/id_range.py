"""Range of ids that a page is taken from. Ids sort by time, so times are bounds of ids."""

from __future__ import annotations

import math

from shared.storage.types import CompletionQuery, Kind

PREFIXES: dict[Kind, str] = {"chat": "chatcmpl", "text": "cmpl"}
"""What ids begin with (`new_id`)."""

_FIRST = "\0"
_LAST = "\U0010ffff"
_MAX_MILLISECONDS = 16**12 - 1


def successor(completion_id: str) -> str:
    """The least string that sorts behind ``completion_id``."""
    return completion_id + "\0"


def id_range(query: CompletionQuery) -> tuple[str, str]:
    """The least id that may be on the page, and the least that may not be any more.

    Neither is empty. Both hold for ids compared by code points, which UTF-8 bytes compare alike.
    """
    start, end = _FIRST, _LAST
    if query.since is not None:
        start = _bound(query.kind, query.since)
    if query.until is not None:
        end = _bound(query.kind, query.until)
    if query.after and query.order == "asc":
        start = max(start, successor(query.after))
    if query.after and query.order == "desc":
        end = min(end, query.after)
    return start, end


def _bound(kind: Kind, seconds: float) -> str:
    """The least id of ``kind`` made at ``seconds`` since 1970 or later."""
    # Rounded first, as 1735689600.123 * 1000 is a little off in floating point.
    milliseconds = math.ceil(round(min(max(seconds * 1000, 0), _MAX_MILLISECONDS), 3))
    return f"{PREFIXES[kind]}-{milliseconds:012x}"
