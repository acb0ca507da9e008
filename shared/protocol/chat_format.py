"""Engine output to chat completions: one body, or chunks."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from shared.engine.types import Output, SequenceUsage
from shared.protocol.choices import Choice, finish_reason, usages
from shared.protocol.logprobs import TokenTexts, chat_logprobs
from shared.protocol.responses import (
    ChatChoice,
    ChatCompletion,
    ChatMessage,
    ResponseHead,
    Usage,
)
from shared.protocol.sse import DONE, ChunkTemplate

_END = b'},"logprobs":null,"finish_reason":null}]}\n\n'


def chat_body(head: ResponseHead, choices: Sequence[Choice], texts: TokenTexts | None) -> bytes:
    """The whole completion. ``texts`` is given when log probabilities were asked for."""
    body = ChatCompletion(
        id=head.id,
        created=head.created,
        model=head.model,
        choices=[
            ChatChoice(
                index=index,
                message=ChatMessage(content=choice.text),
                logprobs=chat_logprobs(choice.logprobs, texts) if texts else None,
                finish_reason=choice.finish_reason,
            )
            for index, choice in enumerate(choices)
        ],
        usage=Usage.total(usages(choices), len(choices)),
        service_tier=head.service_tier,
        system_fingerprint=head.system_fingerprint,
    )
    return body.model_dump_json().encode()


class ChatStream:
    """The chunks of one streamed chat completion, as bytes ready to send."""

    def __init__(
        self, head: ResponseHead, n: int, *, include_usage: bool, texts: TokenTexts | None
    ) -> None:
        self._template = ChunkTemplate(head, "chat.completion.chunk", include_usage=include_usage)
        self._texts = texts
        self._choices = [Choice() for _ in range(n)]
        self._content = [self._template.prefix(index, b'"delta":{"content":') for index in range(n)]

    def begin(self) -> bytes:
        """The first chunk of each choice carries the role."""
        rest = b'"delta":{"role":"assistant","content":"","refusal":null' + _END
        return b"".join(self._template.prefix(i, rest) for i in range(len(self._choices)))

    def format(self, outputs: Sequence[Output]) -> bytes:
        """The events for ``outputs``; raises `APIError` when the engine failed."""
        events: list[bytes] = []
        for output in outputs:
            if self._texts is not None and output.logprobs:
                logprobs = chat_logprobs(output.logprobs, self._texts).model_dump_json().encode()
                events += (
                    self._content[output.index],
                    orjson.dumps(output.text),
                    b'},"logprobs":' + logprobs + b',"finish_reason":null}]}\n\n',
                )
            elif output.text:
                events += (self._content[output.index], orjson.dumps(output.text), _END)
            if output.finish_reason is not None:
                events.append(self._finish(output))
        return b"".join(events)

    def _finish(self, output: Output) -> bytes:
        self._choices[output.index].usage = output.usage
        reason = finish_reason(output).encode()
        rest = b'"delta":{},"logprobs":null,"finish_reason":"' + reason + b'"}]}\n\n'
        return self._template.prefix(output.index, rest)

    def usages(self) -> list[SequenceUsage]:
        """What the finished choices cost."""
        return usages(self._choices)

    def end(self) -> bytes:
        """The usage, if asked for, and the end of the stream."""
        return (
            self._template.usage_chunk(Usage.total(usages(self._choices), len(self._choices)))
            + DONE
        )
