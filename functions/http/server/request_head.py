"""Request head of HTTP/1.1 as it arrives: its size, the headers that frame it, and its target."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence
from typing import TYPE_CHECKING

import httptools

from shared.protocol.http_errors import bad_http, head_too_large

if TYPE_CHECKING:
    from uvicorn._types import HTTPScope

HEAD_BYTES = 64 * 1024
"""Of a request line and all headers."""
MAX_HEADERS = 100
CHECKED_HEADERS = frozenset((b"host", b"transfer-encoding"))
"""Those that `RequestHead.check_header` wants to see."""


class RequestHead:
    """Checks one head at a time; raises `APIError` 400, and 431 for one that is too large."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Check another head."""
        self._size = 0
        self._n_hosts = 0

    def add(self, size: int) -> None:
        """Count bytes that it does not end with."""
        self._size += size
        if self._size > HEAD_BYTES:
            raise head_too_large(HEAD_BYTES, MAX_HEADERS)

    def check_header(self, name: bytes, value: bytes, parser: httptools.HttpRequestParser) -> None:
        """Look at one of `CHECKED_HEADERS`, all in lower case, that ``parser`` has found."""
        if name == b"host":
            self._n_hosts += 1
            if self._n_hosts > 1:
                raise bad_http("it has more than one Host header")
        elif value != b"chunked" or parser.get_http_version() == "1.0":
            raise bad_http("its Transfer-Encoding is not 'chunked'")

    def end(self, size: int, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Note that it ends within the next ``size`` bytes, of which others may follow it."""
        if self._size + size > HEAD_BYTES and _parsed_size(url, headers) > HEAD_BYTES:
            raise head_too_large(HEAD_BYTES, MAX_HEADERS)


def _parsed_size(url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> int:
    return len(url) + sum(len(name) + len(value) + 4 for name, value in headers)


def complete_scope(scope: HTTPScope, version: str, method: bytes, url: bytes) -> None:
    """Put into ``scope`` what the request line says; raises `APIError` 400."""
    if version not in ("1.1", "1.0"):
        raise bad_http("this server speaks version 1.1 and 1.0 only")
    target = httptools.parse_url(url)
    path = target.path.decode("ascii")
    if "%" in path:
        path = urllib.parse.unquote(path)
    scope["http_version"] = version
    scope["method"] = method.decode("ascii")
    scope["path"] = path
    scope["raw_path"] = target.path
    scope["query_string"] = target.query or b""
