"""Answers of chat completions as responses: the events of a stream.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from shared.protocol.openai.responses.answer import (
    ResponseAnswer,
    echoed_fields,
    failure,
    response_number,
)
from shared.protocol.openai.responses.requests import ResponsesRequest
from shared.protocol.openai.responses.stream_items import (
    Event,
    StreamedCall,
    StreamedCustomCall,
    StreamedItem,
    StreamedMessage,
    StreamedReasoning,
    StreamedRefusal,
)
from shared.protocol.openai.responses.text_logprobs import from_text_on
from shared.protocol.openai.responses.tools import Tools
from shared.protocol.sse import KEEP_ALIVE
from shared.protocol.translated_request import TranslatedRequest

_QUEUED = ("created", "queued")
_ENDINGS = {"cancelled": "incomplete"}
"""Statuses that no event is named after."""


class ResponseStream:
    """Events of one response, from the chunks of a chat completion's stream."""

    def __init__(self, answer: ResponseAnswer) -> None:
        self._answer = answer
        self._head: Mapping[str, Any] | None = None
        """The first chunk."""
        self._has_ended = False
        self._n_events = 0
        self._output: list[dict[str, Any]] = []
        self._item: StreamedItem | None = None
        self._n_calls = 0
        self._call = 0
        """Which call is written, as chat completions number them."""
        self._waiting: list[Any] = []
        """Log probabilities of tokens before a message, such as the marks around reasoning."""
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
            if begun["background"]:
                queued = {**begun, "status": "queued"}
                events += ({"type": f"response.{name}", "response": queued} for name in _QUEUED)
            else:
                events.append({"type": "response.created", "response": begun})
            events.append({"type": "response.in_progress", "response": begun})
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
            logprobs = self._waiting
            events += self._open(StreamedMessage(self._item_id("msg")))
            events += self._add("", logprobs) if logprobs else ()
            events += self._close()
        response = self._answer.ended(self._head, self._output, self._finish_reason, self._usage)
        name = _ENDINGS.get(response["status"], response["status"])
        events.append({"type": f"response.{name}", "response": response})
        return self._written(events)

    def fail(self, message: str) -> bytes:
        """The last event of a stream that can't go on; nothing where it has ended."""
        return b"" if self._has_ended else self._failed(message, {})

    def _failed(self, message: str, error: Mapping[str, Any]) -> bytes:
        self._has_ended = True
        told = {"code": error.get("code"), "message": message, "param": error.get("param")}
        events: list[Event] = [{"type": "error", **told}]
        if self._head is not None:
            begun = self._answer.begun(self._head)
            response = {**begun, "status": "failed", "error": failure(error.get("code"), message)}
            failed = {**response, "output": self._output}
            events.append({"type": "response.failed", "response": failed})
        return self._written(events)

    def _delta(self, delta: Mapping[str, Any], logprobs: list[Any]) -> Iterator[Event]:
        if thoughts := delta.get("reasoning_content"):
            if not isinstance(self._item, StreamedReasoning):
                yield from self._open(StreamedReasoning(self._item_id("rs")))
            yield from self._add(thoughts, [])
            logprobs = logprobs if delta.get("content") else []
        for name, kind in (("content", StreamedMessage), ("refusal", StreamedRefusal)):
            if text := delta.get(name):
                if type(self._item) is not kind:
                    logprobs = from_text_on(self._waiting + logprobs, text)
                    yield from self._open(kind(self._item_id("msg")))
                yield from self._add(text, logprobs)
                logprobs = []
        if delta.get("tool_calls") or isinstance(self._item, StreamedCall):
            pass  # no text is made of a call's tokens
        elif isinstance(self._item, StreamedMessage) and logprobs:
            yield from self._add("", logprobs)
        else:
            self._waiting += logprobs
        for call in delta.get("tool_calls") or ():
            function = call.get("function") or {}
            if function.get("name"):
                tool = self._answer.called.get(function["name"])
                kinds = StreamedCustomCall if tool is not None and tool.is_custom else StreamedCall
                self._call = call.get("index", 0)
                item_id = f"{self._item_id('fc')}_{self._n_calls}"
                self._n_calls += 1
                opened = kinds(item_id, self._answer, call.get("id") or "", function["name"])
                yield from self._open(opened)
            elif not isinstance(self._item, StreamedCall) or self._call != call.get("index", 0):
                raise ValueError("pieces of calls are mixed")
            if arguments := function.get("arguments"):
                yield from self._add(arguments, [])

    def _item_id(self, prefix: str) -> str:
        assert self._head is not None
        return f"{prefix}_{response_number(self._head)}"

    def _open(self, item: StreamedItem) -> Iterator[Event]:
        yield from self._close()
        self._item, self._waiting = item, []
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
            parts += (b"event: ", name, b"\ndata: ", orjson.dumps(numbered), b"\n\n")
        return b"".join(parts)


class StreamedAnswer(ResponseAnswer):
    """What one answer becomes, streamed or not."""

    def __init__(self, asked: ResponsesRequest, request: TranslatedRequest) -> None:
        fields = echoed_fields(asked, is_stored=bool(request.fields.get("store")))
        super().__init__(fields, Tools.of(asked.tools).called)
        self.request = request

    def stream(self) -> ResponseStream:
        """A new formatter of its events."""
        return ResponseStream(self)
