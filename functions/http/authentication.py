"""Authentication: the API key of a request, from ``Authorization`` or ``x-api-key``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.protocol.errors import APIError
from shared.runtime.api_keys import ANONYMOUS, Caller

if TYPE_CHECKING:
    from starlette.types import Scope

    from shared.runtime.api_keys import ApiKeys

DOCS_FILES = "/docs-files"
PUBLIC_PATHS = ("/", "/health", "/v1/health", "/docs", DOCS_FILES, "/openapi.json")
"""Served without a key: nothing in them belongs to anybody."""

_CREDENTIALS = (b"authorization", b"x-api-key")


def is_public(path: str) -> bool:
    """Whether ``path`` is served without a key."""
    return path in PUBLIC_PATHS or path.startswith(f"{DOCS_FILES}/")


def authenticate(scope: Scope, keys: ApiKeys) -> Caller:
    """Caller of a request; raises `APIError` 401, or 400 for a header that is sent twice."""
    authorization = _authorization(scope)
    if not keys:
        return ANONYMOUS
    scheme, _, key = (authorization or b"").partition(b" ")
    caller = keys.owner(key.strip()) if scheme.lower() == b"bearer" else None
    if caller is not None:
        return caller
    message = "Incorrect API key provided." if key else "No API key provided."
    raise APIError(
        401,
        f"{message} Send one of this server's keys as 'Authorization: Bearer KEY'.",
        type="authentication_error",
        code="invalid_api_key",
        headers={"www-authenticate": "Bearer"},
    )


def _authorization(scope: Scope) -> bytes | None:
    """The ``Authorization`` header; raises `APIError` 400 for more than one.

    Where that has another purpose, as AWS's signatures of requests, ``x-api-key`` stands for it.
    """
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name not in _CREDENTIALS:
            continue
        if name in found:
            raise APIError(
                400,
                f"The request has several '{name.decode()}' headers. Send one.",
                code="conflicting_credentials",
            )
        found[name] = value
    authorization, api_key = (found.get(name) for name in _CREDENTIALS)
    if api_key is not None and not (authorization or b"").lower().startswith(b"bearer "):
        authorization = b"Bearer " + api_key
    return authorization
