"""Answers of chat completions as responses: whole ones."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from shared.protocol.openai.responses.chat_request import CUSTOM_INPUT
from shared.protocol.openai.responses.requests import ResponsesRequest

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_ECHOED = (
    *("instructions", "max_output_tokens", "max_tool_calls", "previous_response_id"),
    *("prompt_cache_key", "prompt_cache_retention", "safety_identifier", "temperature"),
    *("top_logprobs", "top_p", "user", "reasoning", "text"),
)


class ResponseAnswer:
    """What one answer becomes."""

    def __init__(self, asked: ResponsesRequest) -> None:
        self._asked = asked
        self.custom = {tool.name for tool in asked.tools or () if tool.type == "custom"}
        """Names of the tools that take text."""

    def whole(self, completion: Mapping[str, Any]) -> dict[str, Any]:
        """The response of a whole chat completion."""
        choice = completion["choices"][0]
        message = choice["message"]
        number = response_number(completion)
        output: list[dict[str, Any]] = []
        if thoughts := message.get("reasoning_content"):
            output.append(reasoning_item(f"rs_{number}", thoughts))
        text, refusal = message.get("content"), message.get("refusal")
        if text or refusal or not message.get("tool_calls"):
            logprobs = (choice.get("logprobs") or {}).get("content")
            output.append(message_item(f"msg_{number}", text or "", refusal, logprobs))
        for i, call in enumerate(message.get("tool_calls") or ()):
            function = call["function"]
            name, arguments = function["name"], function["arguments"]
            output.append(self.call_item(f"fc_{number}_{i}", call["id"], name, arguments))
        return self.ended(completion, output, choice.get("finish_reason"), completion.get("usage"))

    def begun(self, chunk: Mapping[str, Any]) -> dict[str, Any]:
        """The response before anything of it is there."""
        asked = self._asked
        echoed = asked.model_dump(include=set(_ECHOED), exclude_none=True, by_alias=True)
        return {
            "id": f"resp_{response_number(chunk)}",
            "object": "response",
            "created_at": chunk.get("created") or int(time.time()),
            "status": "in_progress",
            "background": False,
            "error": None,
            "incomplete_details": None,
            **{name: echoed.get(name) for name in _ECHOED},
            "text": echoed.get("text") or {"format": {"type": "text"}},
            "reasoning": {"effort": None, "summary": None, **echoed.get("reasoning", {})},
            "metadata": asked.metadata or {},
            "model": chunk.get("model"),
            "output": [],
            "parallel_tool_calls": asked.parallel_tool_calls is not False,
            "service_tier": chunk.get("service_tier") or "default",
            "store": bool(asked.store),
            "tool_choice": _dumped(asked.tool_choice) or "auto",
            "tools": [_dumped(tool) for tool in asked.tools or ()],
            "truncation": "disabled",
            "usage": None,
        }

    def ended(
        self,
        chunk: Mapping[str, Any],
        output: Sequence[Mapping[str, Any]],
        finish_reason: str | None,
        usage: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        """The response with all that was generated."""
        reason = _INCOMPLETE.get(finish_reason or "")
        status = "incomplete" if reason else "completed"
        items = list(output)
        if reason and items:
            items[-1] = {**items[-1], "status": "incomplete"}
        return {
            **self.begun(chunk),
            "status": status,
            "incomplete_details": {"reason": reason} if reason else None,
            "completed_at": None if reason else int(time.time()),
            "output": items,
            "usage": _usage(usage),
        }

    def call_item(self, item_id: str, call_id: str, name: str, arguments: str) -> dict[str, Any]:
        """A call, of a function or of a custom tool."""
        if name in self.custom:
            return {
                "id": item_id.replace("fc_", "ctc_", 1),
                "type": "custom_tool_call",
                "status": "completed",
                "call_id": call_id,
                "name": name,
                "input": custom_input(arguments),
            }
        return {
            "id": item_id,
            "type": "function_call",
            "status": "completed",
            "call_id": call_id,
            "name": name,
            "arguments": arguments,
        }

    def error(self, status: int, body: Mapping[str, Any], request_id: str) -> Mapping[str, Any]:  # noqa: ARG002
        """The envelope, which is the same."""
        return body


def response_number(completion: Mapping[str, Any]) -> str:
    """What the ids of a response and its items end with."""
    return str(completion.get("id") or "").removeprefix("chatcmpl-")


def message_item(
    item_id: str, text: str, refusal: str | None, logprobs: Sequence[Any] | None
) -> dict[str, Any]:
    """What the model says."""
    part = refusal_part(refusal) if refusal else text_part(text, logprobs)
    return {
        "id": item_id,
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }


def text_part(text: str, logprobs: Sequence[Any] | None = None) -> dict[str, Any]:
    """A part of a message."""
    return {
        "type": "output_text",
        "text": text,
        "annotations": [],
        "logprobs": list(logprobs or ()),
    }


def refusal_part(refusal: str) -> dict[str, Any]:
    """A part of a message."""
    return {"type": "refusal", "refusal": refusal}


def reasoning_item(item_id: str, thoughts: str) -> dict[str, Any]:
    """What the model thought."""
    content = [{"type": "reasoning_text", "text": thoughts}]
    return {
        "id": item_id,
        "type": "reasoning",
        "status": "completed",
        "summary": [],
        "content": content,
    }


def custom_input(arguments: str) -> str:
    """The text that a custom tool is called with; what was cut off stays as it was written."""
    try:
        found = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    text = found.get(CUSTOM_INPUT) if isinstance(found, dict) else None
    return text if isinstance(text, str) else arguments


def _dumped(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    return value.model_dump(exclude_none=True, by_alias=True)


def _usage(usage: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    of_prompt = usage.get("prompt_tokens_details") or {}
    of_completion = usage.get("completion_tokens_details") or {}
    found = {
        "input_tokens": usage.get("prompt_tokens") or 0,
        "input_tokens_details": {
            "cached_tokens": of_prompt.get("cached_tokens") or 0,
            "cache_write_tokens": of_prompt.get("cache_write_tokens") or 0,
        },
        "output_tokens": usage.get("completion_tokens") or 0,
        "output_tokens_details": {"reasoning_tokens": of_completion.get("reasoning_tokens") or 0},
        "total_tokens": usage.get("total_tokens") or 0,
    }
    return found if usage.get("cost") is None else {**found, "cost": usage["cost"]}
