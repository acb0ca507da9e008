"""Completions to look at."""

from __future__ import annotations

from typing import Any

from shared.storage.base import CompletionStore
from shared.storage.types import Kind, StoredCompletion
from tests.storage.completions import sample


def put(
    store: CompletionStore, tenant: str, number: int = 0, kind: Kind = "chat", **changes: Any
) -> StoredCompletion:
    """Store a sample with ``changes``."""
    completion = sample(number, tenant=tenant, kind=kind, **changes)
    store.put(completion)
    return completion


def response(text: str = "Fine", finish_reason: str = "stop", **message: Any) -> dict[str, Any]:
    """An answer of a chat."""
    said = {"role": "assistant", "content": text, **message}
    choice = {"index": 0, "finish_reason": finish_reason, "logprobs": None, "message": said}
    usage = {"prompt_tokens": 11, "completion_tokens": 34, "total_tokens": 1045, "cost": 0.00126}
    return {"choices": [choice], "usage": usage}
