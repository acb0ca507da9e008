"""Engine output to text completions: one body, or chunks."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from shared.engine.types import Output, SequenceUsage
from shared.protocol.choices import Choice, finish_reason, usages
from shared.protocol.logprobs import TokenTexts, text_logprobs
from shared.protocol.responses import Completion, ResponseHead, TextChoice, Usage
from shared.protocol.sse import DONE, ChunkTemplate

_END = b',"logprobs":null,"finish_reason":null}]}\n\n'


def text_body(
    head: ResponseHead, choices: Sequence[Choice], n: int, texts: TokenTexts | None
) -> bytes:
    """The whole completion as JSON."""
    return text_completion(head, choices, n, texts).model_dump_json().encode()


def text_completion(
    head: ResponseHead, choices: Sequence[Choice], n: int, texts: TokenTexts | None
) -> Completion:
    """The whole completion: for each prompt its ``n`` choices, in order."""
    return Completion(
        id=head.id,
        created=head.created,
        model=head.model,
        choices=[
            TextChoice(
                index=index,
                text=choice.text,
                logprobs=text_logprobs(choice.logprobs, texts, 0) if texts else None,
                finish_reason=choice.finish_reason,
            )
            for index, choice in enumerate(choices)
        ],
        usage=Usage.total(usages(choices), n),
        service_tier=head.service_tier,
        system_fingerprint=head.system_fingerprint,
    )


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
    ) -> None:
        self._template = ChunkTemplate(head, "text_completion", include_usage=include_usage)
        self._texts = texts
        self._n = n
        self._choices = [Choice() for _ in range(n_prompts * n)]
        self._offsets = [0] * (n_prompts * n)
        self._text = [self._template.prefix(i, b'"text":') for i in range(n_prompts * n)]

    def begin(self) -> bytes:
        """Nothing: a text has no role to announce."""
        return b""

    def format(self, outputs: Sequence[Output]) -> bytes:
        """The events for ``outputs``; raises `APIError` when the engine failed."""
        events: list[bytes] = []
        for output in outputs:
            index = output.index
            if self._texts is not None and output.logprobs:
                logprobs = text_logprobs(output.logprobs, self._texts, self._offsets[index])
                self._offsets[index] += len(output.text)
                events += (
                    self._text[index],
                    orjson.dumps(output.text),
                    b',"logprobs":' + logprobs.model_dump_json().encode(),
                    b',"finish_reason":null}]}\n\n',
                )
            elif output.text:
                events += (self._text[index], orjson.dumps(output.text), _END)
            if output.finish_reason is not None:
                self._choices[index].usage = output.usage
                reason = finish_reason(output).encode()
                events += (
                    self._text[index],
                    b'"","logprobs":null,"finish_reason":"' + reason + b'"}]}\n\n',
                )
        return b"".join(events)

    def usages(self) -> list[SequenceUsage]:
        """What the finished choices cost."""
        return usages(self._choices)

    def end(self) -> bytes:
        """The usage, if asked for, and the end of the stream."""
        usage = Usage.total(usages(self._choices), self._n)
        return self._template.usage_chunk(usage) + DONE
