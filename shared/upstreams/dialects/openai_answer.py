"""Answer in OpenAI's dialect, whole and streamed, as those who speak it write it.

What is told apart by a name or number that some leave out, or give twice, is told apart by what
they do give: Gemini's endpoint numbers all calls 0, vLLM names reasoning ``reasoning``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.config.upstreams import UpstreamModel
from shared.upstreams import errors
from shared.upstreams.dialects import json_values
from shared.upstreams.dialects.dialect import (
    AnswerPart,
    AnswerReader,
    Endpoint,
    FinishReason,
    ToolCallPart,
    UpstreamUsage,
)
from shared.upstreams.dialects.json_values import MalformedAnswerError
from shared.upstreams.dialects.openai_logprobs import chat_logprobs, text_logprobs
from shared.upstreams.dialects.server_sent_events import ServerSentEvents

_FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "function_call",
    "content_filter": "content_filter",
}
"""Others, which some have, are stops."""
_REASONING = ("reasoning_content", "reasoning")
_ERROR_STATUSES = range(400, 600)


@dataclass(slots=True)
class _Calls:
    """The calls of a choice that have begun: each by its number there, with its id."""

    numbers: dict[int, int] = field(default_factory=dict)
    ids: list[str | None] = field(default_factory=list)

    def part(self, call: dict[str, Any], position: int) -> ToolCallPart:
        """A part of a call; ``position``: among those of the same event."""
        function = json_values.as_object(call.get("function") or {})
        name = json_values.text(function, "name", "") or None
        call_id = json_values.text(call, "id", "") or None
        arguments = json_values.text(function, "arguments", "")
        there = position if call.get("index") is None else json_values.index(call, "index")
        index = self.numbers.get(there)
        if index is None or (name and call_id not in (None, self.ids[index])):
            index = self.numbers[there] = len(self.ids)
            self.ids.append(call_id)
            return ToolCallPart(index, call_id, name, arguments)
        return ToolCallPart(index, arguments=arguments)


class OpenAIReader(AnswerReader):
    """Reader of one answer."""

    def __init__(self, upstream: UpstreamModel, endpoint: Endpoint) -> None:
        self._upstream = upstream
        self._is_chat = endpoint == "chat"
        self._events = ServerSentEvents()
        self._calls: dict[int, _Calls] = {}

    def whole(self, body: bytes) -> list[AnswerPart]:
        """The parts of an answer that is one JSON value."""
        try:
            data = json_values.loads(body)
            parts = self._read(data, "message")
            if not parts:
                raise MalformedAnswerError("it has no choices")
        except MalformedAnswerError:
            raise errors.malformed(self._upstream) from None
        self.is_done = True
        return parts

    def feed(self, data: bytes) -> list[AnswerPart]:
        """The parts that are complete with the next bytes of a stream."""
        parts: list[AnswerPart] = []
        try:
            for event in self._events.feed(data):
                if event.strip() == b"[DONE]":
                    self.is_done = True
                if self.is_done:
                    break
                parts += self._read(json_values.loads(event), "delta")
        except MalformedAnswerError:
            self.error = errors.malformed(self._upstream)
        except errors.UpstreamError as error:
            self.error = error
        if self.error is not None and not parts:
            raise self.error
        return parts

    def _read(self, data: dict[str, Any], message: str) -> list[AnswerPart]:
        """What a body or a chunk says; ``message``: the field of a choice with its text."""
        if error := data.get("error"):
            raise self._refusal(error)
        for name in ("model", "service_tier", "system_fingerprint"):
            if isinstance(value := data.get(name), str) and value:
                setattr(self, name, value)
        self.usage = _usage(data.get("usage")) or self.usage
        if data.get("choices") is None:
            return []
        read = self._chat if self._is_chat else self._text
        return [read(choice, message) for choice in json_values.items(data, "choices")]

    def _chat(self, choice: dict[str, Any], message: str) -> AnswerPart:
        delta = json_values.as_object(choice.get(message) or {})
        number = _number(choice)
        reasoning = next((text for name in _REASONING if (text := _said(delta, name))), "")
        return AnswerPart(
            choice=number,
            content=_said(delta, "content"),
            reasoning=reasoning,
            refusal=_said(delta, "refusal"),
            tool_calls=self._tool_calls(number, delta),
            logprobs=chat_logprobs(choice.get("logprobs")),
            finish_reason=_finish_reason(choice),
        )

    def _text(self, choice: dict[str, Any], _: str) -> AnswerPart:
        return AnswerPart(
            choice=_number(choice),
            content=_said(choice, "text"),
            logprobs=text_logprobs(choice.get("logprobs")),
            finish_reason=_finish_reason(choice),
        )

    def _tool_calls(self, choice: int, delta: dict[str, Any]) -> Sequence[ToolCallPart]:
        """The parts of calls; a function's call in the older form is the only one."""
        called = delta.get("function_call")
        found = json_values.items(delta, "tool_calls") if delta.get("tool_calls") else []
        if called:
            found = [{"index": 0, "function": called}]
        if not found:
            return ()
        calls = self._calls.setdefault(choice, _Calls())
        return [calls.part(call, position) for position, call in enumerate(found)]

    def _refusal(self, error: object) -> errors.UpstreamError:
        """An error in place of an answer; OpenRouter's have a status as their code."""
        code = error.get("code") if isinstance(error, dict) else None
        status = code if isinstance(code, int) and code in _ERROR_STATUSES else 502
        body = json_values.dumps({"error": error}).encode()
        return errors.refusal(self._upstream, status, {}, body)


def _number(choice: dict[str, Any]) -> int:
    return 0 if choice.get("index") is None else json_values.index(choice, "index")


def _said(data: dict[str, Any], name: str) -> str:
    return json_values.text(data, name, "")


def _finish_reason(choice: dict[str, Any]) -> FinishReason | None:
    reason = _said(choice, "finish_reason")
    return _FINISH_REASONS.get(reason, "stop") if reason else None


def _usage(usage: object) -> UpstreamUsage | None:
    """Token counts; None where there are none that could be counted by.

    xAI's and Gemini's completion tokens are without those of reasoning: the total has them.
    """
    try:
        counts = json_values.as_object(usage)
        prompt = json_values.token_count(counts, "prompt_tokens")
        completion = json_values.token_count(counts, "completion_tokens")
        if prompt is None or completion is None:
            return None
        total = json_values.token_count(counts, "total_tokens") or 0
        of_prompt = json_values.as_object(counts.get("prompt_tokens_details") or {})
        of_completion = json_values.as_object(counts.get("completion_tokens_details") or {})
        completion = max(completion, total - prompt)
        return UpstreamUsage(
            prompt=prompt,
            cached=min(json_values.token_count(of_prompt, "cached_tokens") or 0, prompt),
            completion=completion,
            reasoning=min(
                json_values.token_count(of_completion, "reasoning_tokens") or 0, completion
            ),
            accepted_prediction=json_values.token_count(of_completion, "accepted_prediction_tokens")
            or 0,
            rejected_prediction=json_values.token_count(of_completion, "rejected_prediction_tokens")
            or 0,
        )
    except MalformedAnswerError:
        return None
