"""Dialect of OpenAI's API, which vLLM, llama-server, Ollama, OpenRouter and others speak, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from shared.protocol.errors import invalid
from shared.protocol.unsupported_fields import refuse
from shared.upstreams.dialects.dialect import AnswerReader, Endpoint, UpstreamDialect, WireRequest
from shared.upstreams.dialects.openai_answer import OpenAIReader

_PATHS: Mapping[Endpoint, str] = {"chat": "/chat/completions", "text": "/completions"}

NOT_SENT = frozenset(("model", "stream", "stream_options", "store", "metadata", "json_schema"))
"""Fields that this server follows itself, or sends in its own way."""
_FORM = "use 'response_format' with type 'json_schema'"
REFUSED = {
    "grammar": _FORM,
    "regex": _FORM,
    "timings_per_token": "upstreams tell no timings",
    "verbose": "upstreams tell nothing of llama.cpp's",
    "return_progress": "upstreams tell no progress",
}
"""Fields that not all who speak this dialect know: others would pass them over, and the answer
would not be what was asked for."""


class OpenAIDialect(UpstreamDialect):
    """Chat and text completions of one model."""

    def request(self, endpoint: Endpoint, fields: Mapping[str, Any]) -> WireRequest:
        """``POST /chat/completions`` or ``/completions``.

        A stream is always asked for its usage, by which it is metered.
        """
        for name, reason in REFUSED.items():
            if fields.get(name):
                refuse(name, reason)
        sent = fields.keys() - NOT_SENT - REFUSED.keys()
        body = {name: value for name, value in fields.items() if name in sent}
        body["model"] = self.upstream.model or self.name
        if (schema := fields.get("json_schema")) is not None:
            form = {"name": "answer", "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        accept = b"application/json"
        if fields.get("stream"):
            accept = b"text/event-stream"
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        headers = [(b"accept", accept)]
        if self.upstream.key is not None:
            key = self.upstream.key.get_secret_value()
            headers.append((b"authorization", b"Bearer " + key.encode()))
        try:
            return WireRequest(_PATHS[endpoint], headers, orjson.dumps(body))
        except orjson.JSONEncodeError:
            raise invalid("The request is nested too deeply.", None) from None

    def reader(self, endpoint: Endpoint) -> AnswerReader:
        """A reader of the answer."""
        return OpenAIReader(self.upstream, endpoint)
