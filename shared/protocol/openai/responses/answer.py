"""Answers of chat completions as responses: whole ones."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from shared.protocol.openai.responses.requests import ResponsesRequest
from shared.protocol.openai.responses.text_logprobs import of_text
from shared.protocol.openai.responses.tools import Called, custom_input

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_FAILURES = {
    "rate_limit_exceeded": "rate_limit_exceeded",
    "queue_full": "rate_limit_exceeded",
    "context_length_exceeded": "invalid_prompt",
}
_ECHOED = (
    *("instructions", "max_output_tokens", "max_tool_calls", "previous_response_id"),
    *("prompt_cache_key", "prompt_cache_retention", "safety_identifier", "temperature"),
    *("top_logprobs", "top_p", "user", "reasoning", "text"),
)


def echoed_fields(asked: ResponsesRequest, *, is_stored: bool) -> dict[str, Any]:
    """Fields of a response that say what was asked for. ``is_stored``: whether it is kept."""
    echoed = asked.model_dump(include=set(_ECHOED), exclude_none=True, by_alias=True)
    return {
        **{name: echoed.get(name) for name in _ECHOED},
        "text": {"format": {"type": "text"}, **echoed.get("text", {})},
        "reasoning": {"effort": None, "summary": None, **echoed.get("reasoning", {})},
        "metadata": asked.metadata or {},
        "parallel_tool_calls": asked.parallel_tool_calls is not False,
        "store": is_stored,
        "tool_choice": _dumped(asked.tool_choice) or "auto",
        "tools": [_dumped(tool) for tool in asked.tools or ()],
        "background": bool(asked.background),
    }


class ResponseAnswer:
    """What one answer becomes."""

    def __init__(self, fields: dict[str, Any], called: Mapping[str, Called]) -> None:
        """An answer to one request.

        - ``fields``: the `echoed_fields`, and of what was stored ``completed_at``, too.
        - ``called``: the tools, by the names that the model knows them by.
        """
        self.called = called
        self.stored_fields = fields

    def whole(self, completion: Mapping[str, Any]) -> dict[str, Any]:
        """The response of a whole chat completion."""
        choice = completion["choices"][0]
        message = choice["message"]
        number = response_number(completion)
        output: list[dict[str, Any]] = []
        if thoughts := message.get("reasoning_content"):
            output.append(reasoning_item(f"rs_{number}", thoughts))
        text, refusal = message.get("content"), message.get("refusal")
        calls = message.get("tool_calls") or ()
        if text or refusal or not (output or calls):
            logprobs = of_text(
                (choice.get("logprobs") or {}).get("content") or (),
                text or "",
                thoughts=thoughts or "",
                has_calls=bool(calls),
            )
            output.append(message_item(f"msg_{number}", text or "", refusal, logprobs))
        for i, call in enumerate(calls):
            function = call["function"]
            name, arguments = function["name"], function["arguments"]
            output.append(self.call_item(f"fc_{number}_{i}", call["id"], name, arguments))
        return self.ended(completion, output, choice.get("finish_reason"), completion.get("usage"))

    def begun(self, chunk: Mapping[str, Any]) -> dict[str, Any]:
        """The response before anything of it is there."""
        return {
            "id": f"resp_{response_number(chunk)}",
            "object": "response",
            "created_at": chunk.get("created") or int(time.time()),
            "error": None,
            "incomplete_details": None,
            **self.stored_fields,
            "status": "in_progress",
            "completed_at": None,
            "model": chunk.get("model"),
            "output": [],
            "service_tier": chunk.get("service_tier") or "default",
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
        status = self.stored_fields.get("status") or ("incomplete" if reason else "completed")
        items = list(output)
        if items and status != "completed":
            items[-1] = {**items[-1], "status": "incomplete"}
        return {
            **self.begun(chunk),
            "status": status,
            "incomplete_details": {"reason": reason} if status == "incomplete" else None,
            "completed_at": self._completed_at() if status == "completed" else None,
            "output": items,
            "usage": _usage(usage),
        }

    def _completed_at(self) -> int:
        """When it ended, in Unix seconds: of what is stored, when it was."""
        stored_at = self.stored_fields.get("completed_at")
        return int(time.time()) if stored_at is None else int(stored_at)

    def call_item(self, item_id: str, call_id: str, name: str, arguments: str) -> dict[str, Any]:
        """A call, of a function or of a custom tool."""
        tool = self.called.get(name, Called(name))
        item = {
            "id": item_id,
            "type": "function_call",
            "status": "completed",
            "call_id": call_id,
            "name": tool.name,
        }
        if tool.namespace is not None:
            item["namespace"] = tool.namespace
        if not tool.is_custom:
            return {**item, "arguments": arguments}
        custom = {"id": item_id.replace("fc_", "ctc_", 1), "type": "custom_tool_call"}
        return {**item, **custom, "input": custom_input(arguments)}

    def error(self, status: int, body: Mapping[str, Any], request_id: str) -> Mapping[str, Any]:  # noqa: ARG002
        """The envelope, which is the same."""
        return body


def failure(code: str | None, message: str) -> dict[str, Any]:
    """``error`` of a response that failed: of the codes that OpenAI's clients know."""
    return {"code": _FAILURES.get(code or "", "server_error"), "message": message}


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
