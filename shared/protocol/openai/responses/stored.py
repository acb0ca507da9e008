"""Responses that were stored, as chat completions: the response, and the items of its input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from shared.protocol.openai.responses.answer import (
    ResponseAnswer,
    message_item,
    reasoning_item,
)
from shared.protocol.openai.responses.requests import ResponsesRequest
from shared.storage.types import StoredCompletion

_KEPT = (
    *("temperature", "top_p", "prompt_cache_key", "safety_identifier", "user", "store"),
    "parallel_tool_calls",
)


def stored_response(stored: StoredCompletion) -> dict[str, Any]:
    """The response of a stored completion."""
    sent = stored.request
    fields: dict[str, Any] = {name: sent[name] for name in _KEPT if sent.get(name) is not None}
    fields |= {
        "instructions": _instructions(sent),
        "max_output_tokens": sent.get("max_completion_tokens"),
        "metadata": dict(stored.metadata),
        "store": True,
        "tools": [{"type": "function", **tool["function"]} for tool in sent.get("tools") or ()],
    }
    if sent.get("reasoning_effort"):
        fields["reasoning"] = {"effort": sent["reasoning_effort"]}
    try:
        asked = ResponsesRequest.model_validate(fields)
    except ValidationError:  # it was sent as a chat completion, with what responses don't have
        asked = ResponsesRequest(store=True, metadata=dict(stored.metadata))
    body = {**stored.response, "id": stored.id, "created": stored.created, "model": stored.model}
    return ResponseAnswer(asked).whole(body)


def input_items(stored: StoredCompletion) -> list[dict[str, Any]]:
    """What the response was an answer to, without its instructions."""
    number = stored.id.removeprefix("chatcmpl-")
    sent = [each for each in stored.request.get("messages", ()) if each.get("role") != "developer"]
    return [
        {**item, "id": f"{item['id']}_{number}_{i}"}
        for i, message in enumerate(sent)
        for item in _items(message)
    ]


def _instructions(sent: Mapping[str, Any]) -> str | None:
    first = (sent.get("messages") or [{}])[0]
    content = first.get("content")
    return content if first.get("role") == "developer" and isinstance(content, str) else None


def _items(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    role, content = message.get("role"), message.get("content")
    if role == "tool":
        yield {
            "id": "fco",
            "type": "function_call_output",
            "status": "completed",
            "call_id": message.get("tool_call_id"),
            "output": content if isinstance(content, str) else _text(content),
        }
        return
    if role != "assistant":
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        yield {
            "id": "msg",
            "type": "message",
            "role": role,
            "status": "completed",
            "content": [_input_part(part) for part in parts],
        }
        return
    if thoughts := message.get("reasoning_content"):
        yield reasoning_item("rs", thoughts)
    if content or message.get("refusal"):
        yield message_item("msg", _text(content), message.get("refusal"), None)
    for i, call in enumerate(message.get("tool_calls") or ()):
        yield {
            "id": f"fc{i}",
            "type": "function_call",
            "status": "completed",
            "call_id": call["id"],
            "name": call["function"]["name"],
            "arguments": call["function"]["arguments"],
        }


def _input_part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part.get("type") == "image_url":
        image = part["image_url"]
        detail = image.get("detail") or "auto"
        return {"type": "input_image", "image_url": image.get("url"), "detail": detail}
    if part.get("type") == "file":
        return {"type": "input_file", "filename": part["file"].get("filename")}
    return {"type": "input_text", "text": part.get("text") or ""}


def _text(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.get("text") or "" for part in content)
