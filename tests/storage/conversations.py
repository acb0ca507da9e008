"""Stored completions whose requests and responses have all that exports look at."""

from __future__ import annotations

from typing import Any

from shared.storage.types import Kind, StoredCompletion
from tests.storage.completions import START_MS, sample_id

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


def user(content: Any) -> dict[str, Any]:
    """What a user says."""
    return {"role": "user", "content": content}


def assistant(content: str | None, **fields: Any) -> dict[str, Any]:
    """What the model says, as responses have it."""
    return {"role": "assistant", "content": content, "refusal": None, **fields}


def call(call_id: str = "call_1", arguments: str = '{"city": "Oslo"}') -> dict[str, Any]:
    """A tool call."""
    function = {"name": "get_weather", "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def result(call_id: str = "call_1", content: str = '{"temperature": 18}') -> dict[str, Any]:
    """What a tool returned."""
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def chat(
    messages: list[dict[str, Any]],
    *answers: dict[str, Any] | str,
    finish: str = "stop",
    number: int = 0,
    **fields: Any,
) -> StoredCompletion:
    """A chat completion with a choice for each of the answers; ``fields`` are the request's."""
    choices = [
        {
            "index": i,
            "message": assistant(answer) if isinstance(answer, str) else answer,
            "logprobs": None,
            "finish_reason": finish,
        }
        for i, answer in enumerate(answers)
    ]
    return _stored("chat", number, {"messages": messages, **fields}, choices)


def text(
    prompt: Any, *texts: str, finish: str = "stop", number: int = 0, **fields: Any
) -> StoredCompletion:
    """A text completion with a choice for each of the texts; ``fields`` are the request's."""
    choices = [
        {"index": i, "text": text, "logprobs": None, "finish_reason": finish}
        for i, text in enumerate(texts)
    ]
    return _stored("text", number, {"prompt": prompt, **fields}, choices)


def _stored(
    kind: Kind, number: int, request: dict[str, Any], choices: list[dict[str, Any]]
) -> StoredCompletion:
    """Completion ``number``, made that many milliseconds after the first one."""
    completion_id = sample_id(number, kind)
    created = (START_MS + number) // 1000
    return StoredCompletion(
        id=completion_id,
        kind=kind,
        tenant="default",
        created=created,
        model="lamp",
        request={"model": "lamp", "store": True, **request},
        response={
            "id": completion_id,
            "object": "chat.completion" if kind == "chat" else "text_completion",
            "created": created,
            "model": "lamp",
            "choices": choices,
            "usage": {"prompt_tokens": 11, "completion_tokens": 34, "total_tokens": 45},
            "service_tier": "default",
            "system_fingerprint": "fp_0",
        },
        timings={"total_seconds": 0.5},
    )
