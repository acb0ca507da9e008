"""Error responses of the OpenAPI document: what a status means, in OpenAI's envelope."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.protocol.responses import ErrorEnvelope

COMPLETION_ERRORS = (400, 401, 403, 404, 413, 429, 502, 503, 504)
"""Statuses that a completion may fail with."""

_MEANINGS = {
    400: "A field is missing, of the wrong type or out of range; `param` says which.",
    401: "No API key, or a wrong one.",
    403: "The key's project may not use the model.",
    404: "Unknown model.",
    413: "The body is larger than the limit.",
    429: "The queue is full; see `Retry-After`.",
    501: "The server was started without it.",
    502: "Who serves the model for this server failed; errors of its own keep their status.",
    503: "The model is still loading; see `Retry-After`.",
    504: "Who serves the model for this server did not answer in time.",
}


def error_responses(
    *statuses: int, meanings: Mapping[int, str] = _MEANINGS
) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route for failures with these statuses."""
    return {
        status: {"description": meanings[status], "model": ErrorEnvelope} for status in statuses
    }
