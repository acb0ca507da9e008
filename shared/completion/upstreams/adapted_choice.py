"""Choice of an upstream's answer: its parts added up, and written as OpenAI's types have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.completion.upstreams.adapted_request import AdaptedRequest
    from shared.upstreams.dialects.dialect import AnswerPart, FinishReason, ToolCallPart


@dataclass(slots=True)
class _Call:
    id: str
    name: str
    arguments: list[str] = field(default_factory=list)

    def function(self) -> dict[str, str]:
        """The function's name, and its arguments as JSON text."""
        return {"name": self.name, "arguments": "".join(self.arguments)}


class AdaptedChoice:
    """One choice, as far as it has come."""

    def __init__(self, index: int, call_prefix: str, request: AdaptedRequest) -> None:
        """``call_prefix``: of the ids of calls, where the upstream gives none."""
        self._index = index
        self._call_prefix = call_prefix
        self._is_chat = request.endpoint == "chat"
        self._has_tools = request.has_tools
        self._is_legacy = request.is_legacy
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._calls: dict[int, _Call] = {}
        self._new_calls: list[ToolCallPart] = []
        """Calls that the last part began."""
        self._logprobs: dict[str, Any] = {}
        self.finish_reason: FinishReason = "length"
        """Before the end what holds if there will be none."""
        self.is_finished = False
        self._ends_now = False
        """Whether the last part was the end: some say it twice."""

    def add(self, part: AnswerPart) -> int:
        """Take a part; the bytes of text in it."""
        texts = [part.content, part.reasoning, part.refusal]
        for kept, text in zip((self._content, self._reasoning, self._refusal), texts, strict=True):
            if text:
                kept.append(text)
        self._new_calls.clear()
        self._ends_now = part.finish_reason is not None and not self.is_finished
        for call in part.tool_calls:
            if call.index not in self._calls:
                call_id = call.id or f"{self._call_prefix}-{self._index}-{call.index}"
                self._calls[call.index] = _Call(call_id, call.name or "")
                self._new_calls.append(call)
            self._calls[call.index].arguments.append(call.arguments)
            texts += (call.name or "", call.arguments)
        if part.logprobs is not None:
            self._add_logprobs(part.logprobs)
        if self._ends_now:
            self.finish(part.finish_reason)
        return sum(len(text.encode("utf-8", "replace")) for text in texts)

    def _add_logprobs(self, logprobs: Mapping[str, Any]) -> None:
        for name, column in logprobs.items():
            if self._logprobs.get(name) is None:
                self._logprobs[name] = column if column is None else list(column)
            elif column is not None:
                self._logprobs[name].extend(column)

    def finish(self, reason: FinishReason | None) -> None:
        """Note why the choice ended; None where the upstream does not say.

        Not all say "tool_calls" of an end with calls, as that of a choice of one function.
        """
        self.is_finished = True
        self.finish_reason = reason or "stop"
        if self._calls and self.finish_reason in ("stop", "tool_calls", "function_call"):
            self.finish_reason = "function_call" if self._is_legacy else "tool_calls"

    def whole(self) -> dict[str, Any]:
        """``choices[]`` of the whole answer."""
        content: str | None = "".join(self._content)
        fields: dict[str, Any] = {"index": self._index}
        if self._is_chat:
            if not content and (self._calls or self._refusal):
                content = None
            message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
            if self._refusal:
                message["refusal"] = "".join(self._refusal)
            if self._reasoning:
                message["reasoning_content"] = "".join(self._reasoning)
            fields["message"] = message | self._called()
        else:
            fields["text"] = content
        return {**fields, "logprobs": self._logprobs or None, "finish_reason": self.finish_reason}

    def _called(self) -> dict[str, Any]:
        calls = list(self._calls.values())
        if not calls:
            return {}
        if self._is_legacy:
            return {"function_call": calls[0].function()}
        return {
            "tool_calls": [
                {"id": call.id, "type": "function", "function": call.function()} for call in calls
            ]
        }

    def first_chunk(self) -> dict[str, Any]:
        """``choices[]`` of the chunk that tells the role."""
        content = None if self._has_tools else ""
        delta = {"role": "assistant", "content": content, "refusal": None}
        return self._chunk({"delta": delta}, None)

    def last_chunk(self) -> dict[str, Any]:
        """``choices[]`` of the chunk that tells why the choice ended."""
        text: dict[str, Any] = {"delta": {}} if self._is_chat else {"text": ""}
        return {**self._chunk(text, None), "finish_reason": self.finish_reason}

    def chunks(self, part: AnswerPart) -> Iterator[dict[str, Any]]:
        """``choices[]`` of the chunks for a part, which `add` has taken just now."""
        logprobs = part.logprobs
        deltas = list(self._deltas(part)) if self._is_chat else []
        if not deltas and (logprobs is not None or (part.content and not self._is_chat)):
            deltas = [{"content": part.content}]
        for delta in deltas:
            text = {"delta": delta} if self._is_chat else {"text": delta["content"]}
            yield self._chunk(text, logprobs)
            logprobs = None
        if self._ends_now:
            yield self.last_chunk()

    def _chunk(self, text: dict[str, Any], logprobs: Mapping[str, Any] | None) -> dict[str, Any]:
        return {"index": self._index, **text, "logprobs": logprobs, "finish_reason": None}

    def _deltas(self, part: AnswerPart) -> Iterator[dict[str, Any]]:
        if part.reasoning:
            yield {"reasoning_content": part.reasoning}
        if part.content:
            yield {"content": part.content}
        if part.refusal:
            yield {"refusal": part.refusal}
        new = {call.index for call in self._new_calls}
        for call in part.tool_calls:
            if call.index in new or call.arguments:
                yield self._call_delta(call, is_new=call.index in new)
            new.discard(call.index)

    def _call_delta(self, part: ToolCallPart, *, is_new: bool) -> dict[str, Any]:
        """A part of a call, as OpenAI streams it: id and name first, then the arguments."""
        call = self._calls[part.index]
        function = {"arguments": part.arguments}
        if is_new:
            function = {"name": call.name, **function}
        if self._is_legacy:
            return {"function_call": function}
        head = {"id": call.id, "type": "function"} if is_new else {}
        return {"tool_calls": [{"index": part.index, **head, "function": function}]}
