"""Answers of chat completions as Anthropic's messages: whole, and as a stream's events.

https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from shared.protocol.anthropic.errors import envelope
from shared.protocol.translated_request import TranslatedRequest

_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_TIERS = {"priority": "priority"}
_PING = b'event: ping\ndata: {"type": "ping"}\n\n'


class MessageAnswer:
    """What one answer becomes."""

    stored_fields: dict[str, Any] | None = None
    """Messages can't be fetched: what is stored is shown as a chat completion."""

    def __init__(
        self,
        request: TranslatedRequest,
        stop_sequence: Callable[[], str | None],
        prompt_tokens: Callable[[], int | None],
    ) -> None:
        """With what chat completions don't say.

        - ``request``: what it answers.
        - ``stop_sequence``: which one ended the answer, once it has ended.
        - ``prompt_tokens``: of a prompt that is not evaluated yet, where they are known.
        """
        self.request = request
        self._stop_sequence = stop_sequence
        self._prompt_tokens = prompt_tokens

    def whole(self, completion: Mapping[str, Any]) -> dict[str, Any]:
        """The message of a whole chat completion."""
        choice = completion["choices"][0]
        message = choice["message"]
        blocks: list[dict[str, Any]] = []
        if thoughts := message.get("reasoning_content"):
            blocks.append({"type": "thinking", "thinking": thoughts, "signature": ""})
        if text := message.get("content") or message.get("refusal"):
            blocks.append({"type": "text", "text": text})
        for call in message.get("tool_calls") or ():
            function = call["function"]
            blocks.append(_tool_use(call["id"], function["name"], _object(function["arguments"])))
        return {
            **_head(completion),
            "content": blocks,
            **self.ending(choice.get("finish_reason")),
            "usage": {**_usage(completion.get("usage")), **_tier(completion)},
        }

    def ending(self, finish_reason: str | None) -> dict[str, Any]:
        """``stop_reason`` and ``stop_sequence``."""
        reason = _REASONS.get(finish_reason or "stop", "end_turn")
        found = self._stop_sequence() if reason == "end_turn" else None
        return {
            "stop_reason": reason if found is None else "stop_sequence",
            "stop_sequence": found,
        }

    def stream(self) -> MessageStream:
        """A formatter of the same as events."""
        return MessageStream(self, self._prompt_tokens)

    def error(self, status: int, body: Mapping[str, Any], request_id: str) -> dict[str, Any]:
        """The envelope for OpenAI's."""
        return envelope(status, _message(body), request_id)


class MessageStream:
    """Events of one message, from the chunks of a chat completion's stream."""

    def __init__(self, answer: MessageAnswer, prompt_tokens: Callable[[], int | None]) -> None:
        self._answer = answer
        self._prompt_tokens = prompt_tokens
        self._has_begun = False
        self._has_ended = False
        self._index = -1
        self._open: tuple[str, int] | None = None
        """The block that is written: its type, and for a tool's call which one it is."""
        self._finish_reason: str | None = None
        self._usage: Mapping[str, Any] | None = None

    def comment(self) -> bytes:
        """The event for a comment, which keeps the connection open."""
        return _PING

    def chunk(self, chunk: Mapping[str, Any]) -> bytes:
        """The events for a chunk."""
        if self._has_ended:
            return b""
        if error := chunk.get("error"):
            kind = error.get("type") if isinstance(error, dict) else None
            return self._failed(_STATUSES.get(str(kind), 500), _message(chunk))
        events: list[dict[str, Any]] = []
        if not self._has_begun:
            self._has_begun = True
            events.append(self._start(chunk))
        if chunk.get("usage"):
            self._usage = chunk["usage"]
        for choice in chunk.get("choices") or ():
            events += self._delta(choice.get("delta") or {})
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
        return b"".join(map(_event, events))

    def end(self) -> bytes:
        """The events at the end of the stream."""
        if self._has_ended:
            return b""
        self._has_ended = True
        ended = {
            "type": "message_delta",
            "delta": self._answer.ending(self._finish_reason),
            "usage": _usage(self._usage),
        }
        return b"".join(map(_event, [*self._close(), ended, {"type": "message_stop"}]))

    def fail(self, message: str) -> bytes:
        """The last event of a stream that can't go on; nothing where it has ended."""
        return b"" if self._has_ended else self._failed(500, message)

    def _failed(self, status: int, message: str) -> bytes:
        self._has_ended = True
        return _event(envelope(status, message))

    def _start(self, chunk: Mapping[str, Any]) -> dict[str, Any]:
        usage = {**_usage(None), "input_tokens": self._prompt_tokens() or 0, **_tier(chunk)}
        message = {**_head(chunk), "content": [], "stop_reason": None, "stop_sequence": None}
        return {"type": "message_start", "message": {**message, "usage": usage}}

    def _delta(self, delta: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        if thoughts := delta.get("reasoning_content"):
            yield from self._begin("thinking", {"thinking": "", "signature": ""})
            yield self._piece({"type": "thinking_delta", "thinking": thoughts})
        if text := delta.get("content") or delta.get("refusal"):
            yield from self._begin("text", {"text": ""})
            yield self._piece({"type": "text_delta", "text": text})
        for call in delta.get("tool_calls") or ():
            function = call.get("function") or {}
            if function.get("name"):
                block = {"id": call.get("id"), "name": function["name"], "input": {}}
                yield from self._begin("tool_use", block, call.get("index", 0))
            elif self._open != ("tool_use", call.get("index", 0)):
                raise ValueError("pieces of calls are mixed")
            if arguments := function.get("arguments"):
                yield self._piece({"type": "input_json_delta", "partial_json": arguments})

    def _begin(
        self, kind: str, fields: dict[str, Any], number: int = 0
    ) -> Iterator[dict[str, Any]]:
        if self._open == (kind, number):
            return
        yield from self._close()
        self._index += 1
        self._open = kind, number
        yield {
            "type": "content_block_start",
            "index": self._index,
            "content_block": {"type": kind, **fields},
        }

    def _close(self) -> Iterator[dict[str, Any]]:
        if self._open is not None:
            self._open = None
            yield {"type": "content_block_stop", "index": self._index}

    def _piece(self, delta: dict[str, Any]) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}


_STATUSES = {
    "server_error": 500,
    "model_loading": 503,
    "overloaded": 503,
    "rate_limit_error": 429,
    "insufficient_quota": 429,
    "invalid_request_error": 400,
    "permission_error": 403,
    "authentication_error": 401,
}
"""What an error in mid-stream would have had as its status, by its type."""


def _event(data: dict[str, Any]) -> bytes:
    name = str(data["type"]).encode()
    return b"event: " + name + b"\ndata: " + orjson.dumps(data) + b"\n\n"


def _head(completion: Mapping[str, Any]) -> dict[str, Any]:
    number = str(completion.get("id") or "").rpartition("-")[2]
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": completion.get("model"),
    }


def _tier(completion: Mapping[str, Any]) -> dict[str, Any]:
    return {"service_tier": _TIERS.get(str(completion.get("service_tier")), "standard")}


def _usage(usage: Mapping[str, Any] | None) -> dict[str, Any]:
    """Tokens; those of the prompt that were cached are counted apart."""
    told = usage or {}
    details = told.get("prompt_tokens_details") or {}
    cached, written = details.get("cached_tokens") or 0, details.get("cache_write_tokens") or 0
    found = {
        "input_tokens": max((told.get("prompt_tokens") or 0) - cached - written, 0),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": told.get("completion_tokens") or 0,
    }
    thoughts = (told.get("completion_tokens_details") or {}).get("reasoning_tokens")
    if thoughts:
        found["output_tokens_details"] = {"thinking_tokens": thoughts}
    if told.get("cost") is not None:
        found["cost"] = told["cost"]
    return found


def _tool_use(call_id: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def _object(arguments: str) -> dict[str, Any]:
    """A call's arguments; what the model wrote otherwise, or was cut off in, under one name."""
    try:
        found = orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        return {"arguments": arguments}
    return found if isinstance(found, dict) else {"arguments": found}


def _message(body: Mapping[str, Any]) -> str:
    error = body.get("error")
    message = error.get("message") if isinstance(error, dict) else None
    return message if isinstance(message, str) else "The request failed."
