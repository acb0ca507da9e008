"""``__verbose``: what llama-server would say of an answer, beside OpenAI's, where it is asked for.

Of whole answers as they are; of streams in a choice's last chunk, without the text, which came
before. Its prompt is the one that the model has seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from shared.completion.tokens import detokenize
from shared.protocol.llama_cpp.format import Answer, Prompt
from shared.protocol.llama_cpp.generation_settings import generation_settings
from shared.protocol.llama_cpp.requests import LlamaCppRequest

if TYPE_CHECKING:
    from shared.completion.dialect import CompletionStream, Dialect
    from shared.engine.types import GenerationRequest, Output
    from shared.protocol.choices import Choice
    from shared.protocol.fields import SharedFields
    from shared.protocol.responses import ResponseHead
    from shared.runtime.served_model import ServedModel


async def verbose_answers(
    dialect: Dialect[Any], requests: Sequence[GenerationRequest]
) -> Verbose | None:
    """The field's formatter; None where answers have llama-server's fields anyway."""
    if dialect.kind is None:
        return None

    def made() -> Verbose:
        return Verbose(dialect.asked, dialect.head, dialect.served, requests)

    return await dialect.context.run(made)


class Verbose:
    """llama-server's fields of the answers to one request."""

    def __init__(
        self,
        asked: SharedFields,
        head: ResponseHead,
        served: ServedModel,
        requests: Sequence[GenerationRequest],
    ) -> None:
        """``requests``: what is generated, one for each prompt."""
        first = requests[0]
        spelled = LlamaCppRequest(
            prompt="",
            n_predict=first.max_tokens,
            stop=list(first.stop),
            stream=asked.stream,
            n_probs=first.top_logprobs,
            grammar=asked.grammar,
            seed=asked.seed,
            timings_per_token=asked.timings_per_token,
        )
        n_ctx = served.engine.n_ctx
        text_of = lru_cache(lambda tokens: detokenize(served, list(tokens)))
        self._answer = Answer(
            head=head,
            prompts=[Prompt(text_of(tuple(each.prompt)), len(each.prompt)) for each in requests],
            n=first.n,
            max_tokens=first.max_tokens,
            settings=generation_settings(
                spelled,
                first.sampling,
                model=served.name,
                n_ctx=n_ctx,
                draft_types=served.engine.draft_types,
            ),
            texts=served.model,
        )

    def body(self, body: bytes, choices: Sequence[Choice]) -> bytes:
        """A whole answer's JSON with the field, of its first choice."""
        if not choices or choices[0].usage is None:
            return body
        return body[:-1] + self.field(0, choices[0], has_new_line="\n" in choices[0].text) + b"}"

    def stream(self, stream: CompletionStream) -> VerboseStream:
        """A stream with the field, from one without."""
        return VerboseStream(stream, self)

    def field(self, index: int, choice: Choice, *, has_new_line: bool) -> bytes:
        """The field, with a comma before it."""
        result: dict[str, Any] = self._answer.result(index, choice, has_new_line=has_new_line)
        return b',"__verbose":' + orjson.dumps(result)


class VerboseStream:
    """A stream whose choices end with the field."""

    def __init__(self, stream: CompletionStream, verbose: Verbose) -> None:
        self._stream = stream
        self._verbose = verbose
        self._has_new_line: set[int] = set()
        self.choices = stream.choices

    def begin(self) -> bytes:
        """What comes before the first output."""
        return self._stream.begin()

    def format(self, outputs: Sequence[Output]) -> bytes:
        """The events for ``outputs``; raises `APIError` when the engine failed."""
        events: list[bytes] = []
        for output in outputs:
            if "\n" in output.text:
                self._has_new_line.add(output.index)
            event = self._stream.format([output])
            if output.finish_reason is not None and event.endswith(b"}\n\n"):
                has_new_line = output.index in self._has_new_line
                choice = self.choices[output.index]
                field = self._verbose.field(output.index, choice, has_new_line=has_new_line)
                event = event[: -len(b"}\n\n")] + field + b"}\n\n"
            events.append(event)
        return b"".join(events)

    def end(self, cost: float | None = None) -> bytes:
        """What comes after the last output. ``cost``: dollars that ``usage`` shows."""
        return self._stream.end(cost)
