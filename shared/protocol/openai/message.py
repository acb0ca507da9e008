"""Assistant message while it is generated: content, reasoning and tool calls told apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.chat.deltas import ContentDelta, Delta, DeltaParser, ReasoningDelta, ToolCallDelta
from shared.chat.reasoning import ReasoningParser
from shared.engine.types import Output
from shared.protocol.choices import Choice
from shared.protocol.responses import FinishReason


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFormat:
    """How the messages of one request are read and written.

    ``new_parser`` makes a parser for each choice, ``call_id`` gives the id of a choice's call.
    ``is_legacy``: calls are written as ``function_call``. ``calls_tools``: the request has tools,
    so content may be absent.
    """

    new_parser: Callable[[], DeltaParser]
    call_id: Callable[[int, int], str]
    calls_tools: bool = False
    is_legacy: bool = False


class MessageReader:
    """Reads one choice's outputs as deltas of its message."""

    __slots__ = ("_arguments", "_is_cut", "_parser", "_reasoning", "has_calls", "reasoning_tokens")

    def __init__(self, format: MessageFormat) -> None:
        self._parser = format.new_parser()
        self._reasoning = self._parser if isinstance(self._parser, ReasoningParser) else None
        self._arguments: list[str] = []
        """Of the last call."""
        self._is_cut = False
        self.has_calls = False
        self.reasoning_tokens = 0

    @property
    def is_transparent(self) -> bool:
        """Whether all that follows is content, as it comes."""
        return self._reasoning is not None and self._reasoning.is_transparent

    def read(self, output: Output) -> list[Delta]:
        """What ``output`` adds to the message."""
        parser, reasoning = self._parser, self._reasoning
        was_reasoning = reasoning is not None and reasoning.in_reasoning
        deltas = parser.add(output.text) if output.text else []
        if was_reasoning or (reasoning is not None and reasoning.in_reasoning):
            self.reasoning_tokens += len(output.tokens)
        if output.finish_reason is not None:
            deltas += parser.finish()
        for delta in deltas:
            if isinstance(delta, ToolCallDelta):
                self.has_calls = True
                if delta.name is not None:
                    self._arguments.clear()
                self._arguments.append(delta.arguments)
        if output.stop is not None:
            self._is_cut = not _is_json("".join(self._arguments))
        return deltas

    def finish_reason(self, reason: FinishReason, *, is_legacy: bool) -> FinishReason:
        """OpenAI's name for an end that came with calls, unless a stop string is in the last."""
        if reason != "stop" or not self.has_calls or self._is_cut:
            return reason
        return "function_call" if is_legacy else "tool_calls"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


@dataclass(slots=True)
class MessageParts:
    """A message's deltas added up."""

    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    arguments: list[list[str]] = field(default_factory=list)

    def add(self, deltas: Sequence[Delta]) -> None:
        """Take what comes next."""
        for delta in deltas:
            if isinstance(delta, ContentDelta):
                self.content.append(delta.text)
            elif isinstance(delta, ReasoningDelta):
                self.reasoning.append(delta.text)
            else:
                if delta.name is not None:
                    self.names.append(delta.name)
                    self.arguments.append([])
                self.arguments[delta.index].append(delta.arguments)

    def message(self, format: MessageFormat, choice: int) -> dict[str, Any]:
        """The whole message, as JSON has it; without content where there are only calls."""
        calls = [
            {"name": name, "arguments": "".join(parts)}
            for name, parts in zip(self.names, self.arguments, strict=True)
        ]
        content = "".join(self.content)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if calls and not content else content,
            "refusal": None,
        }
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        if calls and format.is_legacy:
            message["function_call"] = calls[0]
        elif calls:
            message["tool_calls"] = [
                {"id": format.call_id(choice, i), "type": "function", "function": call}
                for i, call in enumerate(calls)
            ]
        return message


class MessageChoice(Choice):
    """A choice of a chat completion whose text has to be read."""

    __slots__ = ("_format", "_index", "_parts", "_reader")

    def __init__(self, format: MessageFormat, index: int) -> None:
        super().__init__()
        self._format = format
        self._index = index
        self._parts = MessageParts()
        self._reader = MessageReader(format)

    def add(self, output: Output) -> None:
        """Take the next output; raises `APIError` when the engine failed."""
        super().add(output)
        if self._reader.is_transparent:
            self._parts.content.append(output.text)
            return
        self._parts.add(self._reader.read(output))
        self.finish_reason = self._reader.finish_reason(
            self.finish_reason, is_legacy=self._format.is_legacy
        )

    @property
    def reasoning_tokens(self) -> int:
        """Tokens of the reasoning, its markers included."""
        return self._reader.reasoning_tokens

    def message(self) -> dict[str, Any]:
        """The whole message."""
        return self._parts.message(self._format, self._index)
