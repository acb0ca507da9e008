"""Error envelope of Anthropic's API.

https://platform.claude.com/docs/en/api/errors
"""

from __future__ import annotations

from typing import Any

import orjson

from shared.protocol.errors import APIError

PATHS = frozenset({"/v1/messages", "/v1/messages/count_tokens"})
"""What speaks this dialect."""

_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_type(status: int) -> str:
    """Anthropic's name of what a status says."""
    return _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")


def envelope(status: int, message: str, request_id: str | None = None) -> dict[str, Any]:
    """``{"type": "error", "error": {"type", "message"}, "request_id"}``."""
    error = {"type": error_type(status), "message": message}
    return {"type": "error", "error": error, "request_id": request_id}


def error_body(error: APIError, request_id: str) -> bytes:
    """The envelope as JSON."""
    return orjson.dumps(envelope(error.status, error.message, request_id))
