"""Completions to store."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from shared.storage.id_range import PREFIXES
from shared.storage.types import Kind, StoredCompletion

START_MS = 1_735_689_600_000
"""When the first sample was made: 2025-01-01 00:00 UTC, in milliseconds since 1970."""

LONG_AGO = START_MS // 1000 + 1
"""When a completion that is gone by now expired."""


def sample_id(number: int, kind: Kind = "chat") -> str:
    """The id of a completion made ``number`` milliseconds after the first; always the same."""
    noise = blake2b(number.to_bytes(8, "big"), digest_size=8).hexdigest()
    return f"{PREFIXES[kind]}-{START_MS + number:012x}{noise}"


def sample(
    number: int = 0, *, tenant: str, kind: Kind = "chat", **changes: Any
) -> StoredCompletion:
    """A completion such as the server stores, with ``changes``; always the same for a number."""
    completion_id = sample_id(number, kind)
    text = f"{number} is a fine number. " * 5
    if kind == "chat":
        request: dict[str, Any] = {"messages": [{"role": "user", "content": f"Praise {number}"}]}
        choice: dict[str, Any] = {"message": {"role": "assistant", "content": text}}
    else:
        request = {"prompt": f"Praise {number}:"}
        choice = {"text": text}
    fields: dict[str, Any] = {
        "id": completion_id,
        "kind": kind,
        "tenant": tenant,
        "created": (START_MS + number) // 1000,
        "model": "builtin",
        "request": {"model": "builtin", "store": True, "seed": number, **request},
        "response": {
            "id": completion_id,
            "choices": [{"index": 0, "finish_reason": "stop", "logprobs": None, **choice}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 34, "total_tokens": 45},
        },
        "timings": {"prefill_seconds": 0.0125, "decode_seconds": 0.7500001},
    }
    return StoredCompletion(**(fields | changes))
