"""Server-sent events, with everything that repeats serialised once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from shared.protocol.errors import APIError
from shared.protocol.responses import ResponseHead

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": waiting\n\n"
"""A comment: keeps proxies from hanging up while a request waits."""

HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


def event(data: object) -> bytes:
    """One ``data:`` event."""
    return b"data: " + orjson.dumps(data) + b"\n\n"


def error_event(error: APIError) -> bytes:
    """A failure in mid-stream: OpenAI's envelope as the last event."""
    return event(error.envelope())


class ChunkTemplate:
    """The constant bytes of a completion's chunks: everything before the choice's own fields."""

    def __init__(self, head: ResponseHead, object_name: str, *, include_usage: bool) -> None:
        self.common = {
            "id": head.id,
            "object": object_name,
            "created": head.created,
            "model": head.model,
            "system_fingerprint": head.system_fingerprint,
            "service_tier": head.service_tier,
        }
        """Fields and values."""
        self.include_usage = include_usage
        common = dict(self.common, usage=None) if include_usage else self.common
        self._before = b"data: " + orjson.dumps(common)[:-1] + b',"choices":[{"index":'

    def prefix(self, index: int, rest: bytes) -> bytes:
        """The chunk up to and with ``rest``, which opens the choice's varying field."""
        return self._before + b"%d," % index + rest

    def usage_chunk(self, usage: Mapping[str, Any]) -> bytes:
        """The last chunk, with empty ``choices``, if the request asked for it."""
        if not self.include_usage:
            return b""
        return event({**self.common, "choices": [], "usage": usage})
