"""Dialect of Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from shared.upstreams.dialects.anthropic_answer import AnthropicReader
from shared.upstreams.dialects.anthropic_request import (
    DEFAULT_MAX_TOKENS,
    SAMPLING,
    messages_request,
)
from shared.upstreams.dialects.dialect import AnswerReader, Endpoint, UpstreamDialect, WireRequest
from shared.upstreams.dialects.request_fields import chat_only, nested_too_deeply

_VERSION = b"2026-10-21"
_VERSION_WITH_SAMPLING = b"2023-06-01"


class AnthropicDialect(UpstreamDialect):
    """Messages of one model."""

    default_max_tokens = DEFAULT_MAX_TOKENS

    def request(self, endpoint: Endpoint, fields: Mapping[str, Any]) -> WireRequest:
        """``POST /messages``; there is nothing for text completions."""
        if endpoint != "chat":
            raise chat_only(self.name)
        body = messages_request(fields, self.upstream.model or self.name, self.upstream.served_by)
        has_sampling = any(name in body for name in SAMPLING)
        headers = [
            (b"accept", b"text/event-stream" if fields.get("stream") else b"application/json"),
            (b"anthropic-version", _VERSION_WITH_SAMPLING if has_sampling else _VERSION),
        ]
        if self.upstream.key is not None:
            headers.append((b"x-api-key", self.upstream.key.get_secret_value().encode()))
        try:
            return WireRequest("/messages", headers, orjson.dumps(body))
        except orjson.JSONEncodeError:
            raise nested_too_deeply() from None

    def reader(self, endpoint: Endpoint) -> AnswerReader:  # noqa: ARG002
        """A reader of the answer."""
        return AnthropicReader(self.upstream)
