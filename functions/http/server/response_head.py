"""Response head of HTTP/1.1: status line and headers as bytes, and how the body will be framed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from uvicorn.protocols.http.httptools_impl import HEADER_RE, STATUS_LINE

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(slots=True)
class ResponseHead:
    """A head, without the empty line and without what its connection adds.

    ``content_length``: None where the body is sent in chunks, or where there is none.
    """

    rendered: bytes
    content_length: int | None
    is_chunked: bool
    closes: bool
    """Whether it says ``connection: close``."""


def response_head(status: int, headers: Iterable[tuple[bytes, bytes]]) -> ResponseHead:
    """The head with ``headers``; raises `RuntimeError` for one that would forge another."""
    parts = [STATUS_LINE[status]]
    length: int | None = None
    is_chunked = closes = False
    for spelled, value in headers:
        name = spelled.lower()
        parts += (name, b": ", value, b"\r\n")
        if name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            is_chunked = value.lower() == b"chunked"
        elif name == b"connection":
            closes = closes or b"close" in [each.lower().strip() for each in value.split(b",")]
    _check(parts)
    return ResponseHead(b"".join(parts), None if is_chunked else length, is_chunked, closes)


def _check(parts: list[bytes]) -> None:
    """Look at all names, and all values, at once: a search of each takes ten times as long."""
    if HEADER_RE.search(b"".join(parts[1::4])):
        raise RuntimeError("Invalid HTTP header name.")
    if _CONTROL.search(b"".join(parts[3::4])):
        raise RuntimeError("Invalid HTTP header value.")
