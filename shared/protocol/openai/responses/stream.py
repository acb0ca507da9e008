"""Answers of chat completions as responses: the events of a stream.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from shared.protocol.openai.responses.answer import (
    ResponseAnswer,
    custom_input,
    message_item,
    reasoning_item,
    refusal_part,
    response_number,
    text_part,
)
from shared.protocol.sse import KEEP_ALIVE

Event = dict[str, Any]


class ResponseStream:
    """Events of one response, from the chunks of a chat completion's stream."""

    def __init__(self, answer: ResponseAnswer) -> None:
        self._answer = answer
        self._head: Mapping[str, Any] | None = None
        """The first chunk."""
        self._has_ended = False
        self._n_events = 0
        self._output: list[dict[str, Any]] = []
        self._item: _Item | None = None
        self._n_calls = 0
        self._finish_reason: str | None = None
        self._usage: Mapping[str, Any] | None = None

    def comment(self) -> bytes:
        """The comment that keeps the connection open."""
        return KEEP_ALIVE

    def chunk(self, chunk: Mapping[str, Any]) -> bytes:
        """The events for a chunk."""
        if self._has_ended:
            return b""
        if error := chunk.get("error"):
            told = error if isinstance(error, dict) else {}
            return self._failed(told.get("message") or "The request failed.", told)
        events: list[Event] = []
        if self._head is None:
            self._head = chunk
            begun = self._answer.begun(chunk)
            events += (
                {"type": "response.created", "response": begun},
                {"type": "response.in_progress", "response": begun},
            )
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk.get("choices") or ():
            logprobs = (choice.get("logprobs") or {}).get("content") or ()
            events += self._delta(choice.get("delta") or {}, list(logprobs))
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
        return self._written(events)

    def end(self) -> bytes:
        """The events at the end."""
        if self._has_ended or self._head is None:
            return b""
        self._has_ended = True
        events = list(self._close())
        if not self._output:
            events += self._open(_Message(self._item_id("msg")))
            events += self._close()
        response = self._answer.ended(self._head, self._output, self._finish_reason, self._usage)
        events.append({"type": f"response.{response['status']}", "response": response})
        return self._written(events)

    def fail(self, message: str) -> bytes:
        """The last event of a stream that can't go on; nothing where it has ended."""
        return b"" if self._has_ended else self._failed(message, {})

    def _failed(self, message: str, error: Mapping[str, Any]) -> bytes:
        self._has_ended = True
        told = {"code": error.get("code"), "message": message, "param": error.get("param")}
        events: list[Event] = [{"type": "error", **told}]
        if self._head is not None:
            failure = {"code": error.get("code") or "server_error", "message": message}
            response = {**self._answer.begun(self._head), "status": "failed", "error": failure}
            failed = {**response, "output": self._output}
            events.append({"type": "response.failed", "response": failed})
        return self._written(events)

    def _delta(self, delta: Mapping[str, Any], logprobs: list[Any]) -> Iterator[Event]:
        if thoughts := delta.get("reasoning_content"):
            if not isinstance(self._item, _Reasoning):
                yield from self._open(_Reasoning(self._item_id("rs")))
            yield from self._add(thoughts, logprobs)
        for name, kind in (("content", _Message), ("refusal", _Refusal)):
            text = delta.get(name)
            if text or (name == "content" and logprobs and not delta.get("reasoning_content")):
                if type(self._item) is not kind:
                    yield from self._open(kind(self._item_id("msg")))
                yield from self._add(text or "", logprobs)
        for call in delta.get("tool_calls") or ():
            function = call.get("function") or {}
            if function.get("name"):
                kinds = _Call if function["name"] not in self._answer.custom else _CustomCall
                item_id = f"{self._item_id('fc')}_{self._n_calls}"
                self._n_calls += 1
                opened = kinds(item_id, self._answer, call.get("id") or "", function["name"])
                yield from self._open(opened)
            if arguments := function.get("arguments"):
                yield from self._add(arguments, [])

    def _item_id(self, prefix: str) -> str:
        assert self._head is not None
        return f"{prefix}_{response_number(self._head)}"

    def _open(self, item: _Item) -> Iterator[Event]:
        yield from self._close()
        self._item = item
        index = len(self._output)
        added = {"type": "response.output_item.added", "output_index": index, "item": item.begun()}
        for event in (added, *item.opening()):
            yield {**event, "output_index": index}

    def _add(self, text: str, logprobs: list[Any]) -> Iterator[Event]:
        if self._item is not None:
            for event in self._item.add(text, logprobs):
                yield {**event, "output_index": len(self._output)}

    def _close(self) -> Iterator[Event]:
        item, self._item = self._item, None
        if item is None:
            return
        index, whole = len(self._output), item.whole()
        done = {"type": "response.output_item.done", "item": whole}
        for event in (*item.closing(), done):
            yield {**event, "output_index": index}
        self._output.append(whole)

    def _written(self, events: list[Event]) -> bytes:
        parts: list[bytes] = []
        for event in events:
            numbered = {**event, "sequence_number": self._n_events}
            self._n_events += 1
            name = str(event["type"]).encode()
            parts.append(b"event: " + name + b"\ndata: " + orjson.dumps(numbered) + b"\n\n")
        return b"".join(parts)


class StreamedAnswer(ResponseAnswer):
    """What one answer becomes, streamed or not."""

    def stream(self) -> ResponseStream:
        """A new formatter of its events."""
        return ResponseStream(self)


class _Item:
    """An item of the output while it is written."""

    prefix = ""
    """Of its events' types."""

    def __init__(self, item_id: str) -> None:
        self.id = item_id
        self._parts: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def begun(self) -> dict[str, Any]:
        """The item with nothing in it."""
        return {**self.whole(), "status": "in_progress"}

    def whole(self) -> dict[str, Any]:
        """The item."""
        raise NotImplementedError

    def opening(self) -> Iterator[Event]:
        """Events after that it was added."""
        return iter(())

    def add(self, text: str, logprobs: list[Any]) -> Iterator[Event]:  # noqa: ARG002
        """Events for a piece of its text."""
        self._parts.append(text)
        yield {"type": f"{self.prefix}.delta", "item_id": self.id, "delta": text}

    def closing(self) -> Iterator[Event]:
        """Events before it is done."""
        raise NotImplementedError


class _PartItem(_Item):
    """An item with one part."""

    def part(self) -> dict[str, Any]:
        """The part."""
        raise NotImplementedError

    def done(self) -> dict[str, Any]:
        """Fields of the event that has the whole text."""
        return {"text": self.text}

    def begun(self) -> dict[str, Any]:
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


class _Message(_PartItem):
    prefix = "response.output_text"

    def __init__(self, item_id: str) -> None:
        super().__init__(item_id)
        self._logprobs: list[Any] = []

    def part(self) -> dict[str, Any]:
        return text_part(self.text, self._logprobs)

    def done(self) -> dict[str, Any]:
        return {"text": self.text, "logprobs": self._logprobs}

    def whole(self) -> dict[str, Any]:
        return message_item(self.id, self.text, None, self._logprobs)

    def add(self, text: str, logprobs: list[Any]) -> Iterator[Event]:
        self._logprobs += logprobs
        for event in super().add(text, logprobs):
            yield {**event, "logprobs": logprobs}


class _Refusal(_PartItem):
    prefix = "response.refusal"

    def part(self) -> dict[str, Any]:
        return refusal_part(self.text)

    def done(self) -> dict[str, Any]:
        return {"refusal": self.text}

    def whole(self) -> dict[str, Any]:
        return {**message_item(self.id, "", None, None), "content": [self.part()]}


class _Reasoning(_PartItem):
    prefix = "response.reasoning_text"

    def part(self) -> dict[str, Any]:
        return {"type": "reasoning_text", "text": self.text}

    def whole(self) -> dict[str, Any]:
        return reasoning_item(self.id, self.text)


class _Call(_Item):
    prefix = "response.function_call_arguments"

    def __init__(self, item_id: str, answer: ResponseAnswer, call_id: str, name: str) -> None:
        super().__init__(item_id)
        self._answer, self._call_id, self._name = answer, call_id, name

    def whole(self) -> dict[str, Any]:
        return self._answer.call_item(self.id, self._call_id, self._name, self.text)

    def closing(self) -> Iterator[Event]:
        done = {"item_id": self.id, "name": self._name, "arguments": self.text}
        yield {"type": f"{self.prefix}.done", **done}


class _CustomCall(_Call):
    """A custom tool's call, whose text comes at once: it is written as JSON, in pieces."""

    prefix = "response.custom_tool_call_input"

    def begun(self) -> dict[str, Any]:
        return {**super().begun(), "input": ""}

    def add(self, text: str, logprobs: list[Any]) -> Iterator[Event]:  # noqa: ARG002
        self._parts.append(text)
        return iter(())

    def closing(self) -> Iterator[Event]:
        item_id, text = self.whole()["id"], custom_input(self.text)
        yield {"type": f"{self.prefix}.delta", "item_id": item_id, "delta": text}
        yield {"type": f"{self.prefix}.done", "item_id": item_id, "input": text}
