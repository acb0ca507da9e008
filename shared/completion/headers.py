"""Response headers of pilotlight's own, and the comments that say the same in streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

DEADLINE_HEADER = {"x-deadline": "reached"}
"""Tells that the deadline ended a generation, and not the request's own limits."""
DEADLINE_REACHED = b": x-deadline: reached\n\n"
"""The same in a stream, whose headers are gone by then, as a comment."""
NOT_STORED = b": x-stored: false\n\n"
"""`stored_header` of a stream whose store failed, as a comment: clients go on reading."""


def stored_header(is_stored: bool) -> dict[str, str]:
    """Tells whether a completion is kept, as was asked."""
    return {"x-stored": "true" if is_stored else "false"}


def ignored_header(names: Sequence[str]) -> dict[str, str]:
    """Names the fields or parameters that had no effect, since they are not known here."""
    return {"x-ignored-params": _header_value(", ".join(names))} if names else {}


def raw_headers(named: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers with names in lower case, as ASGI has them."""
    return [(name.encode(), value.encode("latin-1")) for name, value in named.items()]


def _header_value(text: str) -> str:
    """``text`` as far as a header can carry it: printable ASCII, 1,000 characters."""
    printable = "".join(c if " " <= c <= "~" else "?" for c in text[:1000])
    return printable.strip()
