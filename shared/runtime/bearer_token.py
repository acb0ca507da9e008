"""Bearer token of an ``Authorization`` header (RFC 6750)."""

from __future__ import annotations


def bearer_token(authorization: bytes) -> bytes | None:
    """The token, empty where there is none after the scheme; None for another scheme."""
    scheme, _, token = authorization.partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else None
