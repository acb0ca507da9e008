"""Answer of Anthropic's Messages API, whole and streamed.

https://platform.claude.com/docs/en/build-with-claude/streaming. Kinds of events, blocks and deltas
that it gets in time are passed over, as that page asks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from shared.config.upstreams import UpstreamModel
from shared.upstreams import errors
from shared.upstreams.dialects import json_values
from shared.upstreams.dialects.dialect import (
    AnswerPart,
    AnswerReader,
    FinishReason,
    ToolCallPart,
    UpstreamUsage,
)
from shared.upstreams.dialects.json_values import MalformedAnswerError
from shared.upstreams.dialects.server_sent_events import ServerSentEvents

_FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""https://platform.claude.com/docs/en/api/errors; others are 500, as ``api_error``."""


_TIERS = {"standard": "default", "priority": "priority"}


@dataclass(slots=True)
class _Call:
    """A block of a tool's call: its number among the calls, and arguments that came whole."""

    index: int
    input: Any
    is_streamed: bool = False


class AnthropicReader(AnswerReader):
    """Reader of one answer. A whole one is read as its blocks' events would be."""

    def __init__(self, upstream: UpstreamModel) -> None:
        self._upstream = upstream
        self._events = ServerSentEvents()
        self._open: dict[int, _Call | None] = {}
        """The blocks that have begun, by index; None for what is no call."""
        self._n_calls = 0
        self._tokens: dict[str, int] = {}
        self._has_ended = False

    def whole(self, body: bytes) -> list[AnswerPart]:
        """The parts of an answer that is one JSON value."""
        try:
            message = json_values.loads(body)
            self._begin(message)
            parts = []
            for index, block in enumerate(json_values.items(message, "content")):
                parts += self._start(index, block)
                parts += self._stop(index)
            parts += self._finish(message)
            if not self._has_ended:
                raise MalformedAnswerError("it does not say why it ends")
        except MalformedAnswerError:
            raise errors.malformed(self._upstream) from None
        self.is_done = True
        return parts

    def feed(self, data: bytes) -> list[AnswerPart]:
        """The parts that are complete with the next bytes of a stream."""
        parts: list[AnswerPart] = []
        try:
            for event in self._events.feed(data):
                if not self.is_done:
                    parts += self._event(json_values.loads(event))
        except MalformedAnswerError:
            self.error = errors.malformed(self._upstream)
        except errors.UpstreamError as error:
            self.error = error
        if self.error is not None and not parts:
            raise self.error
        return parts

    def _event(self, event: dict[str, Any]) -> list[AnswerPart]:
        match event.get("type"):
            case "message_start":
                self._begin(json_values.member(event, "message"))
            case "content_block_start":
                block = json_values.member(event, "content_block")
                return self._start(json_values.index(event, "index"), block)
            case "content_block_delta":
                delta = json_values.member(event, "delta")
                return self._delta(json_values.index(event, "index"), delta)
            case "content_block_stop":
                return self._stop(json_values.index(event, "index"))
            case "message_delta":
                self._count(event)
                return self._finish(json_values.member(event, "delta"))
            case "message_stop":
                if not self._has_ended or self._open:
                    raise MalformedAnswerError("it ends within the answer")
                self.is_done = True
            case "error":
                self._raise(json_values.member(event, "error"), event)
        return []

    def _raise(self, error: dict[str, Any], event: dict[str, Any]) -> NoReturn:
        status = _STATUS.get(json_values.text(error, "type", ""), 500)
        body = json_values.dumps(event).encode()
        raise errors.refusal(self._upstream, status, {}, body)

    def _begin(self, message: dict[str, Any]) -> None:
        if message.get("type") != "message":
            raise MalformedAnswerError("no message")
        self.model = json_values.text(message, "model", "") or None
        self._count(message)

    def _start(self, index: int, block: dict[str, Any]) -> list[AnswerPart]:
        if index in self._open:
            raise MalformedAnswerError("a block begins twice")
        self._open[index] = None
        match block.get("type"):
            case "text":
                return _content(json_values.text(block, "text", ""))
            case "thinking":
                return _reasoning(json_values.text(block, "thinking", ""))
            case "tool_use":
                call = _Call(self._n_calls, block.get("input") or {})
                self._n_calls += 1
                self._open[index] = call
                first = ToolCallPart(
                    call.index, json_values.label(block, "id"), json_values.label(block, "name")
                )
                return [AnswerPart(tool_calls=(first,))]
        return []

    def _delta(self, index: int, delta: dict[str, Any]) -> list[AnswerPart]:
        if index not in self._open:
            raise MalformedAnswerError("a part of no block")
        match delta.get("type"):
            case "text_delta":
                return _content(json_values.text(delta, "text"))
            case "thinking_delta":
                return _reasoning(json_values.text(delta, "thinking"))
            case "input_json_delta":
                arguments = json_values.text(delta, "partial_json")
                call = self._open[index]
                if call is not None and arguments:
                    call.is_streamed = True
                    return _arguments(call, arguments)
        return []

    def _stop(self, index: int) -> list[AnswerPart]:
        if index not in self._open:
            raise MalformedAnswerError("the end of no block")
        call = self._open.pop(index)
        if call is None or call.is_streamed:
            return []
        return _arguments(call, json_values.dumps(json_values.as_object(call.input)))

    def _finish(self, message: dict[str, Any]) -> list[AnswerPart]:
        reason = json_values.text(message, "stop_reason", "")
        if not reason or self._has_ended:
            return []
        self._has_ended = True
        details = message.get("stop_details")
        refusal = details.get("explanation") if isinstance(details, dict) else None
        return [
            AnswerPart(
                refusal=refusal if isinstance(refusal, str) else "",
                finish_reason=_FINISH_REASONS.get(reason, "stop"),
            )
        ]

    def _count(self, message: dict[str, Any]) -> None:
        """Take over ``usage``, in which each number is what it has come to so far."""
        usage = message.get("usage")
        if usage is None:
            return
        usage = json_values.as_object(usage)
        if isinstance(tier := usage.get("service_tier"), str):
            self.service_tier = _TIERS.get(tier)
        details = usage.get("output_tokens_details")
        if details is not None:
            usage = {**json_values.as_object(details), **usage}
        for name in _TOKENS:
            count = json_values.token_count(usage, name)
            if count is not None:
                self._tokens[name] = count
        tokens = {name: self._tokens.get(name, 0) for name in _TOKENS}
        cached = tokens["cache_read_input_tokens"]
        self.usage = UpstreamUsage(
            prompt=tokens["input_tokens"] + tokens["cache_creation_input_tokens"] + cached,
            cached=cached,
            completion=tokens["output_tokens"],
            reasoning=min(tokens["thinking_tokens"], tokens["output_tokens"]),
        )


_TOKENS = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "thinking_tokens",
)


def _content(text: str) -> list[AnswerPart]:
    return [AnswerPart(content=text)] if text else []


def _reasoning(text: str) -> list[AnswerPart]:
    return [AnswerPart(reasoning=text)] if text else []


def _arguments(call: _Call, text: str) -> list[AnswerPart]:
    return [AnswerPart(tool_calls=(ToolCallPart(call.index, arguments=text),))]
