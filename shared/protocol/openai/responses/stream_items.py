"""Items of a response's output while they are streamed, and their events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import orjson

from shared.protocol.openai.responses.answer import (
    ResponseAnswer,
    message_item,
    reasoning_item,
    refusal_part,
    text_part,
)
from shared.protocol.openai.responses.tools import custom_input

Event = dict[str, Any]


class StreamedItem(ABC):
    """An item of the output while it is written."""

    prefix = ""
    """Of its events' types."""

    def __init__(self, item_id: str) -> None:
        self.id = item_id
        self._parts: list[str] = []

    @property
    def text(self) -> str:
        """All that was written."""
        return "".join(self._parts)

    def begun(self) -> dict[str, Any]:
        """The item with nothing in it."""
        return {**self.whole(), "status": "in_progress"}

    @abstractmethod
    def whole(self) -> dict[str, Any]:
        """The item."""

    def opening(self) -> Iterator[Event]:
        """Events after that it was added."""
        return iter(())

    def add(self, text: str, logprobs: list[Any]) -> Iterator[Event]:  # noqa: ARG002
        """Events for a piece of its text."""
        self._parts.append(text)
        yield {"type": f"{self.prefix}.delta", "item_id": self.id, "delta": text}

    @abstractmethod
    def closing(self) -> Iterator[Event]:
        """Events before it is done."""


class _PartItem(StreamedItem):
    """An item with one part."""

    @abstractmethod
    def part(self) -> dict[str, Any]:
        """The part."""

    def done(self) -> dict[str, Any]:
        """Fields of the event that has the whole text."""
        return {"text": self.text}

    def begun(self) -> dict[str, Any]:
        """The item with nothing in it."""
        return {**super().begun(), "content": []}

    def opening(self) -> Iterator[Event]:
        part = {"item_id": self.id, "content_index": 0, "part": self.part()}
        yield {"type": "response.content_part.added", **part}

    def add(self, text: str, logprobs: list[Any]) -> Iterator[Event]:
        for event in super().add(text, logprobs):
            yield {**event, "content_index": 0}

    def closing(self) -> Iterator[Event]:
        where = {"item_id": self.id, "content_index": 0}
        yield {"type": f"{self.prefix}.done", **where, **self.done()}
        yield {"type": "response.content_part.done", **where, "part": self.part()}


class StreamedMessage(_PartItem):
    """What the model says."""

    prefix = "response.output_text"

    def __init__(self, item_id: str) -> None:
        super().__init__(item_id)
        self._logprobs: list[orjson.Fragment] = []
        """JSON of each token's: objects would hold the event loop when the garbage collector looks
        at them, for 0.1 s where 4,000 tokens have 20 each, and when they are forgotten."""

    def part(self) -> dict[str, Any]:
        return text_part(self.text, self._logprobs)

    def done(self) -> dict[str, Any]:
        return {"text": self.text, "logprobs": self._logprobs}

    def whole(self) -> dict[str, Any]:
        return message_item(self.id, self.text, None, self._logprobs)

    def add(self, text: str, logprobs: list[Any]) -> Iterator[Event]:
        written = [orjson.Fragment(orjson.dumps(entry)) for entry in logprobs]
        self._logprobs += written
        for event in super().add(text, logprobs):
            yield {**event, "logprobs": written}


class StreamedRefusal(_PartItem):
    """What the model says where it refuses."""

    prefix = "response.refusal"

    def part(self) -> dict[str, Any]:
        return refusal_part(self.text)

    def done(self) -> dict[str, Any]:
        return {"refusal": self.text}

    def whole(self) -> dict[str, Any]:
        return {**message_item(self.id, "", None, None), "content": [self.part()]}


class StreamedReasoning(_PartItem):
    """What the model thinks."""

    prefix = "response.reasoning_text"

    def part(self) -> dict[str, Any]:
        return {"type": "reasoning_text", "text": self.text}

    def whole(self) -> dict[str, Any]:
        return reasoning_item(self.id, self.text)


class StreamedCall(StreamedItem):
    """A call of a function."""

    prefix = "response.function_call_arguments"

    def __init__(self, item_id: str, answer: ResponseAnswer, call_id: str, name: str) -> None:
        super().__init__(item_id)
        self._answer, self._call_id, self._name = answer, call_id, name

    def whole(self) -> dict[str, Any]:
        return self._answer.call_item(self.id, self._call_id, self._name, self.text)

    def closing(self) -> Iterator[Event]:
        done = {"item_id": self.id, "name": self.whole()["name"], "arguments": self.text}
        yield {"type": f"{self.prefix}.done", **done}


class StreamedCustomCall(StreamedCall):
    """A custom tool's call, whose text comes at once: it is written as JSON, in pieces."""

    prefix = "response.custom_tool_call_input"

    def begun(self) -> dict[str, Any]:
        """The item with nothing in it."""
        return {**super().begun(), "input": ""}

    def add(self, text: str, logprobs: list[Any]) -> Iterator[Event]:  # noqa: ARG002
        self._parts.append(text)
        return iter(())

    def closing(self) -> Iterator[Event]:
        item_id, text = self.whole()["id"], custom_input(self.text)
        yield {"type": f"{self.prefix}.delta", "item_id": item_id, "delta": text}
        yield {"type": f"{self.prefix}.done", "item_id": item_id, "input": text}
