"""Engine output to text completions: one body, or chunks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from shared.engine.types import Output, TokenLogprobs
from shared.protocol.choices import Choice, finish_reason, usages
from shared.protocol.logprobs import TextColumns, TokenTexts, text_logprobs, with_logprobs
from shared.protocol.openai.echo import Echo
from shared.protocol.responses import ResponseHead, TextLogprobs
from shared.protocol.sse import DONE, ChunkTemplate
from shared.protocol.timings import Timings, extra_fields
from shared.protocol.usage import usage_fields

_END = b',"logprobs":null,"finish_reason":null}]}\n\n'


def text_body(
    head: ResponseHead,
    choices: Sequence[Choice],
    n: int,
    texts: TokenTexts | None,
    *,
    echoes: Sequence[Echo] | None = None,
    usage: Mapping[str, Any] | None = None,
    has_timings: bool = False,
) -> bytes:
    """The whole completion as JSON; arguments as `text_completion`'s."""
    completion = text_completion(head, choices, n, None, echoes=echoes, usage=usage)
    found = usages(choices)
    if has_timings and found:
        completion["timings"] = Timings.of(found[0]).model_dump()
    body = orjson.dumps(completion)
    if texts is None:
        return body
    columns = (_logprobs(choices, index, n, texts, echoes) for index in range(len(choices)))
    return with_logprobs(body, [each.model_dump_json().encode() for each in columns])


def text_completion(
    head: ResponseHead,
    choices: Sequence[Choice],
    n: int,
    texts: TokenTexts | None,
    *,
    echoes: Sequence[Echo] | None = None,
    usage: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The whole completion as JSON has it: for each prompt its ``n`` choices, in order.

    `shared.protocol.responses.Completion` is what the OpenAPI document calls it.

    ``echoes`` are the prompts that texts begin with; the first choice of each has its scores.
    ``usage`` is given where ``choices`` are not all that was generated.
    """
    return {
        "id": head.id,
        "object": "text_completion",
        "created": head.created,
        "model": head.model,
        "choices": [
            {
                "index": index,
                "text": (echoes[index // n].text if echoes else "") + choice.text,
                "logprobs": (
                    _logprobs(choices, index, n, texts, echoes).model_dump() if texts else None
                ),
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(choices)
        ],
        "usage": usage or usage_fields(usages(choices), n),
        "service_tier": head.service_tier,
        "system_fingerprint": head.system_fingerprint,
    }


def _logprobs(
    choices: Sequence[Choice],
    index: int,
    n: int,
    texts: TokenTexts,
    echoes: Sequence[Echo] | None,
) -> TextLogprobs:
    entries = choices[index].logprobs
    if echoes is None:
        return text_logprobs(entries, texts, 0)
    prompt = choices[index - index % n].prompt_logprobs
    return echoes[index // n].logprobs(prompt, entries, texts)


class TextStream:
    """The chunks of one streamed text completion, as bytes ready to send.

    Choices are numbered through: prompt ``p``'s choice ``i`` has the index ``p * n + i``.
    """

    def __init__(
        self,
        head: ResponseHead,
        n_prompts: int,
        n: int,
        *,
        include_usage: bool,
        texts: TokenTexts | None,
        echoes: Sequence[Echo] | None = None,
        has_timings: bool = False,
        has_progress: bool = False,
    ) -> None:
        """``echoes`` are the prompts that texts begin with, if they do."""
        count = n_prompts * n
        self._template = ChunkTemplate(head, "text_completion", include_usage=include_usage)
        self._texts = texts
        self._n = n
        self.choices = [Choice() for _ in range(count)]
        self._columns_of = (
            [TextColumns(texts, 0) for _ in range(count)] if texts is not None else []
        )
        """Of each choice: where its tokens begin, whatever text is held back for a stop string."""
        self._text = [self._template.prefix(i, b'"text":') for i in range(count)]
        self._echoes = echoes
        self._prompt_logprobs: list[Sequence[TokenLogprobs | None]] = [()] * n_prompts
        self._held: dict[int, list[Output]] = (
            {which: [] for which in range(n_prompts)} if echoes and texts is not None else {}
        )
        """For prompts without scores yet, which come with the first choice: the other choices'."""
        self._to_echo = set(range(count)) if echoes else set()
        """Choices whose text has not begun."""
        self._has_timings = has_timings
        self._is_plain = texts is None and not echoes and not has_timings and not has_progress

    def begin(self) -> bytes:
        """Nothing: a text has no role to announce."""
        return b""

    def format(self, outputs: Sequence[Output]) -> bytes:
        """The events for ``outputs``; raises `APIError` when the engine failed."""
        events: list[bytes] = []
        for output in self._after_scores(outputs) if self._held else outputs:
            if self._is_plain:
                if output.text:
                    events += (self._text[output.index], orjson.dumps(output.text), _END)
            else:
                events += self._annotated(output)
            if output.finish_reason is not None:
                events += self._finish(output)
        return b"".join(events)

    def _after_scores(self, outputs: Sequence[Output]) -> Iterator[Output]:
        """The outputs whose prompts are scored, and those that waited for that."""
        for output in outputs:
            which = output.index // self._n
            if which not in self._held or output.progress is not None:
                yield output
            elif output.prompt_logprobs:
                self._prompt_logprobs[which] = output.prompt_logprobs
                yield output
                yield from self._held.pop(which)
            else:
                self._held[which].append(output)

    def _annotated(self, output: Output) -> list[bytes]:
        """The chunks with an output's text and all that comes with it."""
        events: list[bytes] = []
        if output.index in self._to_echo and output.progress is None:
            events.append(self._echo(output))
        extra = b"" if output.finish_reason else self._extra(output)
        if output.text or extra or (self._texts is not None and output.logprobs):
            events += (self._text[output.index], orjson.dumps(output.text), b',"logprobs":')
            events += (self._columns(output), b',"finish_reason":null}]', extra, b"}\n\n")
        return events

    def _finish(self, output: Output) -> tuple[bytes, ...]:
        choice = self.choices[output.index]
        choice.usage = output.usage
        choice.finish_reason = reason = finish_reason(output)
        ending = b'"","logprobs":null,"finish_reason":"' + reason.encode() + b'"}]'
        return self._text[output.index], ending, self._extra(output), b"}\n\n"

    def _extra(self, output: Output) -> bytes:
        return b"" if self._is_plain else extra_fields(output, has_timings=self._has_timings)

    def _columns(self, output: Output) -> bytes:
        """The log probabilities of a chunk."""
        if self._texts is None or not output.logprobs:
            return b"null"
        columns = self._columns_of[output.index]
        for entry in output.logprobs:
            columns.add(entry, is_visible=not self._texts.is_control(entry.sampled.token))
        return columns.take().model_dump_json().encode()

    def _echo(self, output: Output) -> bytes:
        """The chunk with the prompt that a choice's text begins with."""
        assert self._echoes is not None
        index, which = output.index, output.index // self._n
        self._to_echo.remove(index)
        echo = self._echoes[which]
        columns = b"null"
        if self._texts is not None:
            self._columns_of[index] = TextColumns(self._texts, len(echo.text))
            found = echo.logprobs(self._prompt_logprobs[which], (), self._texts)
            columns = found.model_dump_json().encode()
        rest = orjson.dumps(echo.text) + b',"logprobs":' + columns + b',"finish_reason":null}]}\n\n'
        return self._text[index] + rest

    def end(self, cost: float | None = None) -> bytes:
        """The usage, if asked for, and the end of the stream."""
        usage = usage_fields(usages(self.choices), self._n, cost=cost)
        return self._template.usage_chunk(usage) + DONE
