"""Error envelope of llama.cpp's server: OpenAI's, with types of its own.

``code`` stays what it is in OpenAI's envelope, a name or null, where llama-server repeats the
status: answers here are both dialects' at once, and OpenAI's clients read it.
"""

from __future__ import annotations

import orjson

from shared.protocol.errors import APIError

PATHS = frozenset(
    (
        *("/completion", "/completions", "/tokenize", "/detokenize", "/apply-template"),
        *("/props", "/slots"),
    )
)
"""What speaks this dialect."""

_TYPES = {404: "not_found_error", 501: "not_supported_error", 503: "unavailable_error"}


def error_body(error: APIError) -> bytes:
    """The envelope as JSON, with both counts where the prompt is too long."""
    told = {**error.envelope()["error"], **error.counts}
    if error.code == "context_length_exceeded":
        told["type"] = "exceed_context_size_error"
    else:
        told["type"] = _TYPES.get(error.status, error.type)
    return orjson.dumps({"error": told})
