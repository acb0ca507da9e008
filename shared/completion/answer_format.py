"""Format of the answer to a request, whole or streamed, by its dialect."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from shared.protocol.choices import forget_logprobs

if TYPE_CHECKING:
    from shared.completion.dialect import CompletionStream, Dialect
    from shared.completion.verbose import Verbose
    from shared.engine.types import GenerationRequest, Output
    from shared.protocol.choices import Choice

_INLINE_SCORES = 64
"""Tokens with log probabilities, up to 20 for each, that are written in less than 3 ms."""


class AnswerFormat:
    """Makes choices, and bodies or streams of them."""

    __slots__ = ("_dialect", "_requests", "_verbose")

    def __init__(
        self, dialect: Dialect[Any], requests: Sequence[GenerationRequest], verbose: Verbose | None
    ) -> None:
        """``requests``: one for each prompt. ``verbose``: where llama-server's fields are, too."""
        self._dialect = dialect
        self._requests = requests
        self._verbose = verbose

    def new_choices(self) -> list[Choice]:
        """What answers are added up in."""
        n = sum(request.n for request in self._requests)
        return [self._dialect.new_choice(i) for i in range(n)]

    def new_stream(self) -> CompletionStream:
        """What makes events of outputs."""
        stream = self._dialect.stream()
        return stream if self._verbose is None else self._verbose.stream(stream)

    async def body(self, choices: Sequence[Choice], cost: float | None = None) -> bytes:
        """The answer's JSON; made on a thread where it has many log probabilities."""
        dialect = self._dialect
        n_scored = sum(len(choice.logprobs) + len(choice.prompt_logprobs) for choice in choices)
        if n_scored <= _INLINE_SCORES:
            body = dialect.body(choices, cost)
        else:
            body = await dialect.context.on_thread(partial(self._large_body, choices, cost))
        return body if self._verbose is None else self._verbose.body(body, choices)

    def _large_body(self, choices: Sequence[Choice], cost: float | None) -> bytes:
        """The same, on a thread; the log probabilities are forgotten, unless shown again."""
        body = self._dialect.body(choices, cost)
        if self._verbose is None:
            forget_logprobs(choices)
        return body


def is_large(outputs: Sequence[Output]) -> bool:
    """Whether formatting takes milliseconds."""
    n_scored = 0
    for output in outputs:  # nearly all have none
        n_scored += len(output.prompt_logprobs)
    return n_scored > _INLINE_SCORES
