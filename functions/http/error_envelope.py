"""Error envelope and request ids of the dialect that a path speaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shared.protocol.anthropic import errors as anthropic
from shared.protocol.llama_cpp import errors as llama_cpp

if TYPE_CHECKING:
    from shared.protocol.errors import APIError


def error_body(error: APIError, path: str, request_id: str) -> bytes:
    """The envelope's JSON."""
    if path in anthropic.PATHS:
        return anthropic.error_body(error, request_id)
    if path in llama_cpp.PATHS:
        return llama_cpp.error_body(error)
    return error.body()


def request_id_headers(path: str, request_id: bytes) -> Sequence[tuple[bytes, bytes]]:
    """Headers with a request's id; https://platform.claude.com/docs/en/api/overview."""
    own = (b"x-request-id", request_id)
    return (own, (b"request-id", request_id)) if path in anthropic.PATHS else (own,)
