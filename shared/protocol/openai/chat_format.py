"""Engine output to chat completions: one body, or chunks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from shared.chat.deltas import ContentDelta, Delta, ReasoningDelta, ToolCallDelta
from shared.engine.types import Output, TokenLogprobs
from shared.protocol.choices import Choice, finish_reason, usages
from shared.protocol.logprobs import TokenTexts, chat_logprobs, chat_logprobs_json, with_logprobs
from shared.protocol.openai.message import MessageFormat, MessageReader
from shared.protocol.responses import ResponseHead
from shared.protocol.sse import DONE, ChunkTemplate
from shared.protocol.timings import Timings, extra_fields
from shared.protocol.usage import usage_fields

_END = b'},"logprobs":null,"finish_reason":null}]}\n\n'


def chat_body(
    head: ResponseHead,
    choices: Sequence[Choice],
    texts: TokenTexts | None,
    *,
    has_timings: bool = False,
    cost: float | None = None,
) -> bytes:
    """The whole completion. ``texts`` is given when log probabilities were asked for.

    `shared.protocol.responses.ChatCompletion` is what the OpenAPI document calls it.
    """
    found = usages(choices)
    reasoning_tokens = sum(choice.reasoning_tokens for choice in choices)
    body: dict[str, Any] = {
        "id": head.id,
        "object": "chat.completion",
        "created": head.created,
        "model": head.model,
        "choices": [
            {
                "index": index,
                "message": choice.message(),
                "logprobs": None,
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(choices)
        ],
        "usage": usage_fields(found, len(choices), reasoning_tokens, cost),
        "service_tier": head.service_tier,
        "system_fingerprint": head.system_fingerprint,
    }
    if has_timings and found:
        body["timings"] = Timings.of(found[0]).model_dump()
    written = orjson.dumps(body)
    if texts is None:
        return written
    return with_logprobs(written, [chat_logprobs_json(each.logprobs, texts) for each in choices])


class ChatStream:
    """The chunks of one streamed chat completion, as bytes ready to send."""

    def __init__(
        self,
        head: ResponseHead,
        n: int,
        *,
        include_usage: bool,
        texts: TokenTexts | None,
        format: MessageFormat | None = None,
        has_timings: bool = False,
        has_progress: bool = False,
    ) -> None:
        """``format`` is given when there may be more than content in the text."""
        self._template = ChunkTemplate(head, "chat.completion.chunk", include_usage=include_usage)
        self._texts = texts
        self.choices = [Choice() for _ in range(n)]
        self._content = [self._template.prefix(index, b'"delta":{"content":') for index in range(n)]
        self._format = format
        self._messages = [_Message(format) if format else None for _ in range(n)]
        """How each choice is read, as long as it has to be."""
        self._reasoning_tokens = 0
        self._has_timings = has_timings
        self._is_plain = texts is None and not has_timings and not has_progress

    def begin(self) -> bytes:
        """The first chunk of each choice carries the role."""
        content = b"null" if self._format is not None and self._format.calls_tools else b'""'
        rest = b'"delta":{"role":"assistant","content":' + content + b',"refusal":null' + _END
        return b"".join(self._template.prefix(i, rest) for i in range(len(self.choices)))

    def format(self, outputs: Sequence[Output]) -> bytes:
        """The events for ``outputs``; raises `APIError` when the engine failed."""
        events: list[bytes] = []
        for output in outputs:
            message = self._messages[output.index]
            if message is not None:
                events += self._read(message, output)
            elif not self._is_plain:
                events += self._annotated(output, [ContentDelta(output.text)], output.logprobs)
            elif output.text:
                events += (self._content[output.index], orjson.dumps(output.text), _END)
            if output.finish_reason is not None:
                events.append(self._finish(output))
        return b"".join(events)

    def _read(self, message: _Message, output: Output) -> list[bytes]:
        """The events for an output that may be reasoning or a part of a tool call."""
        assert self._format is not None
        deltas = message.reader.read(output)
        message.logprobs += output.logprobs
        if not deltas and output.finish_reason is None:
            return self._annotated(output, deltas, ())  # log probabilities wait for their text
        logprobs, message.logprobs = message.logprobs, []
        if message.reader.is_transparent and output.finish_reason is None:
            self._reasoning_tokens += message.reader.reasoning_tokens
            self._messages[output.index] = None
        return self._annotated(output, deltas, logprobs)

    def _annotated(
        self, output: Output, deltas: Sequence[Delta], logprobs: Sequence[TokenLogprobs]
    ) -> list[bytes]:
        """Chunks for ``deltas``, the first of them with all that comes with the output."""
        written = [self._delta(output.index, delta) for delta in deltas if _is_visible(delta)]
        has_logprobs = self._texts is not None and bool(logprobs)
        extra = extra_fields(output, has_timings=self._has_timings)
        if not written and (has_logprobs or (extra and output.finish_reason is None)):
            written = [b'"content":""' if has_logprobs else b""]
        columns = b"null"
        if self._texts is not None and logprobs:
            columns = chat_logprobs(logprobs, self._texts).model_dump_json().encode()
        events: list[bytes] = []
        for delta in written:
            rest = b'"delta":{' + delta + b'},"logprobs":' + columns + b',"finish_reason":null}]'
            events += (self._template.prefix(output.index, rest), extra, b"}\n\n")
            columns, extra = b"null", b""
        return events

    def _delta(self, choice: int, delta: Delta) -> bytes:
        """The inside of ``delta``."""
        if isinstance(delta, ContentDelta):
            return b'"content":' + orjson.dumps(delta.text)
        if isinstance(delta, ReasoningDelta):
            return b'"reasoning_content":' + orjson.dumps(delta.text)
        return self._call(choice, delta)

    def _call(self, choice: int, delta: ToolCallDelta) -> bytes:
        """A part of a tool call, as OpenAI streams it: id and name first, then the arguments."""
        assert self._format is not None
        function = {"arguments": delta.arguments}
        if delta.name is not None:
            function = {"name": delta.name, **function}
        if self._format.is_legacy:
            return b'"function_call":' + orjson.dumps(function)
        call: dict[str, object] = {"index": delta.index}
        if delta.name is not None:
            call |= {"id": self._format.call_id(choice, delta.index), "type": "function"}
        return b'"tool_calls":' + orjson.dumps([{**call, "function": function}])

    def _finish(self, output: Output) -> bytes:
        choice = self.choices[output.index]
        choice.usage, choice.stop = output.usage, output.stop
        reason = finish_reason(output)
        message = self._messages[output.index]
        if message is not None:
            assert self._format is not None
            reason = message.reader.finish_reason(reason, is_legacy=self._format.is_legacy)
            self._reasoning_tokens += message.reader.reasoning_tokens
        choice.finish_reason = reason
        rest = b'"delta":{},"logprobs":null,"finish_reason":"' + reason.encode() + b'"}]'
        extra = extra_fields(output, has_timings=self._has_timings)
        return self._template.prefix(output.index, rest) + extra + b"}\n\n"

    def end(self, cost: float | None = None) -> bytes:
        """The usage, if asked for, and the end of the stream."""
        usage = usage_fields(usages(self.choices), len(self.choices), self._reasoning_tokens, cost)
        return self._template.usage_chunk(usage) + DONE


class _Message:
    """A choice that is being read, and the log probabilities that wait for its next chunk."""

    __slots__ = ("logprobs", "reader")

    def __init__(self, format: MessageFormat) -> None:
        self.reader = MessageReader(format)
        self.logprobs: list[TokenLogprobs] = []


def _is_visible(delta: Delta) -> bool:
    return isinstance(delta, ToolCallDelta) or bool(delta.text)
