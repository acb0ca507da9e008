"""Error responses of the protocol itself, to what never becomes a request for the app."""

from __future__ import annotations

from collections.abc import Iterable

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from shared.protocol.errors import APIError
from shared.protocol.http_errors import bad_http
from shared.runtime.request_context import new_request_id

_TLS_HANDSHAKE = b"\x16\x03"


def reason(error: httptools.HttpParserError, data: bytes) -> APIError:
    """What is wrong with ``data``, which the parser or one of its callbacks has refused."""
    if isinstance(error.__context__, APIError):
        return error.__context__
    if data.startswith(_TLS_HANDSHAKE):
        return bad_http("it begins with TLS, and this port speaks http:// only")
    return bad_http(str(error))


def rendered(error: APIError, default_headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A whole answer of HTTP/1.1 with the error's envelope, after which the connection ends."""
    body = error.body()
    headers = [
        *default_headers,
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        (b"x-request-id", new_request_id()),
        *((name.encode(), value.encode()) for name, value in error.headers.items()),
    ]
    unique = dict(headers)
    lines = [b"%b: %b\r\n" % header for header in unique.items()]
    return b"".join((STATUS_LINE[error.status], *lines, b"\r\n", body))
