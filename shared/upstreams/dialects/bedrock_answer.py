"""Answer of Bedrock's Converse and ConverseStream.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html. Kinds of
content that chat completions don't have, such as images, are passed over.
"""

from __future__ import annotations

from typing import Any, NoReturn

from shared.config.upstreams import UpstreamModel
from shared.upstreams import errors
from shared.upstreams.dialects import json_values
from shared.upstreams.dialects.bedrock_frames import EventFrames
from shared.upstreams.dialects.dialect import (
    AnswerPart,
    AnswerReader,
    FinishReason,
    ToolCallPart,
    UpstreamUsage,
)
from shared.upstreams.dialects.json_values import MalformedAnswerError

_FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
_TIERS = ("default", "flex", "priority")
_MALFORMED = ("malformed_model_output", "malformed_tool_use")
_STATUS = {
    "validationException": 400,
    "modelTimeoutException": 408,
    "modelStreamErrorException": 424,
    "throttlingException": 429,
    "serviceUnavailableException": 503,
}
"""Others are 500, as ``internalServerException``."""


class BedrockReader(AnswerReader):
    """Reader of one answer."""

    def __init__(self, upstream: UpstreamModel) -> None:
        self._upstream = upstream
        self._frames = EventFrames()
        self._n_calls = 0
        self._calls: dict[int, int] = {}
        """The number of a call by its block's."""
        self._without_arguments: set[int] = set()
        self._has_ended = False

    def whole(self, body: bytes) -> list[AnswerPart]:
        """The parts of an answer that is one JSON value."""
        try:
            answer = json_values.loads(body)
            message = json_values.member(json_values.member(answer, "output"), "message")
            parts = []
            for block in json_values.items(message, "content"):
                parts += self._block(block)
            parts += self._finish(answer)
            self._count(answer)
        except MalformedAnswerError:
            raise errors.malformed(self._upstream) from None
        self.is_done = True
        return parts

    def feed(self, data: bytes) -> list[AnswerPart]:
        """The parts that are complete with the next bytes of a stream."""
        parts: list[AnswerPart] = []
        try:
            for headers, payload in self._frames.feed(data):
                kind = headers.get(":message-type")
                if kind == "event":
                    event = json_values.loads(payload)
                    parts += self._event(headers.get(":event-type"), event)
                else:
                    self._raise(headers, payload)
        except MalformedAnswerError:
            self.error = errors.malformed(self._upstream)
        except errors.UpstreamError as error:
            self.error = error
        if self.error is not None and not parts:
            raise self.error
        return parts

    def _raise(self, headers: dict[str, Any], payload: bytes) -> NoReturn:
        """An exception that is modeled, or an error that is not."""
        name = headers.get(":exception-type") or headers.get(":error-code")
        error = {"type": name if isinstance(name, str) else "unknown"}
        if headers.get(":message-type") == "exception":
            error["message"] = json_values.text(json_values.loads(payload), "message", "")
        else:
            error["message"] = json_values.text(headers, ":error-message", "")
        status = _STATUS.get(error["type"], 500)
        raise errors.refusal(
            self._upstream, status, {}, json_values.dumps({"error": error}).encode()
        )

    def _block(self, block: dict[str, Any]) -> list[AnswerPart]:
        """A block of a whole answer, which has one field, of its kind."""
        if "text" in block:
            return _content(json_values.text(block, "text"))
        if "reasoningContent" in block:
            reasoning = json_values.member(block, "reasoningContent").get("reasoningText")
            if reasoning is None:
                return []
            return _reasoning(json_values.text(json_values.as_object(reasoning), "text"))
        if "toolUse" in block:
            call = json_values.member(block, "toolUse")
            arguments = json_values.dumps(json_values.member(call, "input"))
            return [AnswerPart(tool_calls=(self._call(call, arguments),))]
        if "citationsContent" in block:
            cited = json_values.member(block, "citationsContent")
            return [
                part
                for text in json_values.items(cited, "content")
                for part in _content(json_values.text(text, "text"))
            ]
        return []

    def _event(self, kind: object, event: dict[str, Any]) -> list[AnswerPart]:
        match kind:
            case "contentBlockStart":
                return self._start(event)
            case "contentBlockDelta":
                return self._delta(event)
            case "contentBlockStop":
                index = json_values.index(event, "contentBlockIndex")
                if index in self._without_arguments:
                    self._without_arguments.discard(index)
                    return [AnswerPart(tool_calls=(self._arguments(index, "{}"),))]
            case "messageStop":
                return self._finish(event)
            case "metadata":
                if not self._has_ended:
                    raise MalformedAnswerError("it ends within the answer")
                self._count(event)
                self.is_done = True
        return []

    def _start(self, event: dict[str, Any]) -> list[AnswerPart]:
        index = json_values.index(event, "contentBlockIndex")
        start = json_values.member(event, "start")
        if "toolUse" not in start:
            return []
        if index in self._calls:
            raise MalformedAnswerError("a block begins twice")
        call = self._call(json_values.member(start, "toolUse"), "")
        self._calls[index] = call.index
        self._without_arguments.add(index)
        return [AnswerPart(tool_calls=(call,))]

    def _delta(self, event: dict[str, Any]) -> list[AnswerPart]:
        index = json_values.index(event, "contentBlockIndex")
        delta = json_values.member(event, "delta")
        if "text" in delta:
            return _content(json_values.text(delta, "text"))
        if "reasoningContent" in delta:
            reasoning = json_values.member(delta, "reasoningContent")
            return _reasoning(json_values.text(reasoning, "text", ""))
        if "toolUse" in delta:
            text = json_values.text(json_values.member(delta, "toolUse"), "input")
            if text:
                self._without_arguments.discard(index)
                return [AnswerPart(tool_calls=(self._arguments(index, text),))]
        return []

    def _call(self, call: dict[str, Any], arguments: str) -> ToolCallPart:
        id, name = json_values.label(call, "toolUseId"), json_values.label(call, "name")
        self._n_calls += 1
        return ToolCallPart(self._n_calls - 1, id, name, arguments)

    def _arguments(self, index: int, text: str) -> ToolCallPart:
        if index not in self._calls:
            raise MalformedAnswerError("arguments of no call")
        return ToolCallPart(self._calls[index], arguments=text)

    def _finish(self, message: dict[str, Any]) -> list[AnswerPart]:
        reason = json_values.text(message, "stopReason")
        if reason in _MALFORMED or self._has_ended or self._without_arguments:
            raise MalformedAnswerError(reason)
        self._has_ended = True
        return [AnswerPart(finish_reason=_FINISH_REASONS.get(reason, "stop"))]

    def _count(self, answer: dict[str, Any]) -> None:
        """Take over the tier, and ``usage``, whose ``inputTokens`` are those that no cache is of.

        https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
        """
        tier = answer.get("serviceTier")
        if isinstance(tier, dict) and tier.get("type") in _TIERS:
            self.service_tier = tier["type"]
        if answer.get("usage") is None:
            return
        usage = json_values.member(answer, "usage")
        new, read, written, generated = (
            json_values.token_count(usage, name) or 0
            for name in (
                "inputTokens",
                "cacheReadInputTokens",
                "cacheWriteInputTokens",
                "outputTokens",
            )
        )
        self.usage = UpstreamUsage(prompt=new + read + written, cached=read, completion=generated)


def _content(text: str) -> list[AnswerPart]:
    return [AnswerPart(content=text)] if text else []


def _reasoning(text: str) -> list[AnswerPart]:
    return [AnswerPart(reasoning=text)] if text else []
