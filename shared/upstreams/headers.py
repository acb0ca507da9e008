"""Headers that pass between callers and upstreams, and those that don't.

Hop-by-hop headers belong to one connection (RFC 9110, section 7.6.1). Of the others, what a caller
says of itself to this server is nothing for an upstream to know: its key, cookies, addresses. Nor
may a caller choose whom the upstream's key pays for, or where a gateway sends the request on to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

Headers = list[tuple[bytes, bytes]]

_HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding")
) | {b"upgrade", b"proxy-authenticate", b"proxy-authorization"}

_NOT_SENT = (
    _HOP_BY_HOP
    | {b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"cookie"}
    | {b"openai-organization", b"openai-project"}
    | {b"host", b"content-length", b"content-encoding", b"content-type", b"accept-encoding"}
    | {b"expect", b"x-request-id", b"traceparent", b"tracestate", b"baggage", b"origin", b"referer"}
    | {b"forwarded", b"via", b"x-real-ip", b"true-client-ip"}
)
_NOT_SENT_PREFIXES = (
    *(b"x-forwarded-", b"x-amz", b"cloudfront-", b"cf-", b"sec-", b"modal-"),
    # By these, gateways and frameworks take another host, path, method or account.
    *(b"x-goog-", b"helicone-", b"x-portkey-", b"x-litellm-", b"x-original-", b"x-rewrite-"),
    *(b"x-http-method", b"x-method-", b"x-host", b"ocp-apim-"),
)

_NOT_RETURNED = (
    _HOP_BY_HOP
    | {b"set-cookie", b"date", b"server", b"alt-svc", b"strict-transport-security", b"via"}
    | {b"openai-organization", b"openai-project", b"openai-processing-ms", b"www-authenticate"}
    | {b"x-pilotlight-served-by"}
)
_NOT_RETURNED_PREFIXES = (b"access-control-", b"cf-", b"x-amz", b"x-ratelimit-")
"""Limits are those of the key that all callers share."""
_RENAMED = {b"x-request-id": b"x-upstream-request-id"}

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE = re.compile(rb"[\t -~\x80-\xff]*")


def request_headers(received: Iterable[tuple[bytes, bytes]], key: str | None) -> Headers:
    """Headers of the request to an upstream, of those of the caller's, in lower case."""
    sent = _passed(received, _NOT_SENT, _NOT_SENT_PREFIXES)
    sent.append((b"content-type", b"application/json"))
    sent.append((b"accept-encoding", b"identity"))  # usage is read from what passes
    if key is not None:
        sent.append((b"authorization", b"Bearer " + key.encode()))
    return sent


def response_headers(received: Iterable[tuple[bytes, bytes]], key: str | None) -> Headers:
    """Headers of the answer to the caller, of those of the upstream's; none that shows ``key``."""
    passed = _passed(received, _NOT_RETURNED, _NOT_RETURNED_PREFIXES)
    secret = b"\r" if key is None else key.encode()
    return [(_RENAMED.get(name, name), value) for name, value in passed if secret not in value]


def _passed(
    received: Iterable[tuple[bytes, bytes]], dropped: frozenset[bytes], prefixes: tuple[bytes, ...]
) -> Headers:
    headers = [(name.lower(), value) for name, value in received]
    named = {
        token.strip().lower()
        for name, value in headers
        if name == b"connection"
        for token in value.split(b",")
    }
    return [
        (name, value)
        for name, value in headers
        if name not in dropped and name not in named and not name.startswith(prefixes)
        # Servers refuse other ones before; here nothing relies on it.
        if _NAME.fullmatch(name) and _VALUE.fullmatch(value)
    ]
