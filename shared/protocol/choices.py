"""Choices of a completion: engine outputs added up, for bodies that are not streamed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.engine.types import Output, SequenceUsage, TokenLogprobs
from shared.protocol.errors import invalid, server_error, shutting_down
from shared.protocol.responses import FinishReason

_FORGOTTEN_AT_ONCE = 64
"""Tokens whose log probabilities are."""


@dataclass(slots=True)
class Choice:
    """What one sequence has given so far."""

    parts: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    finish_reason: FinishReason = "length"
    usage: SequenceUsage | None = None
    tokens: list[int] = field(default_factory=list)
    prompt_logprobs: list[TokenLogprobs | None] = field(default_factory=list)
    """Of the prompt's tokens, on its first choice."""
    stop: str | None = None
    """The stop string that was found."""
    reached_deadline: bool = False

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.parts)

    @property
    def mean_logprob(self) -> float:
        """Of the sampled tokens; minus infinity without any."""
        if not self.logprobs:
            return -math.inf
        return sum(entry.sampled.logprob for entry in self.logprobs) / len(self.logprobs)

    @property
    def reasoning_tokens(self) -> int:
        """Tokens of the reasoning: none where nobody looks for it."""
        return 0

    def message(self) -> dict[str, Any]:
        """The text as an assistant's message, as JSON has it."""
        return {"role": "assistant", "content": self.text, "refusal": None}

    def add(self, output: Output) -> None:
        """Take the next output; raises `APIError` when the engine failed."""
        if output.text:
            self.parts.append(output.text)
        self.logprobs.extend(output.logprobs)
        self.tokens.extend(output.tokens)
        self.prompt_logprobs.extend(output.prompt_logprobs)
        if output.finish_reason is not None:
            self.finish(output)

    def finish(self, output: Output) -> None:
        """Note how the last output ended it; raises `APIError` when the engine failed."""
        self.finish_reason = finish_reason(output)
        self.usage = output.usage
        self.stop = output.stop
        self.reached_deadline = output.reached_deadline


def new_plain_choice(_index: int) -> Choice:
    """A choice whose text is its content."""
    return Choice()


def finish_reason(output: Output) -> FinishReason:
    """OpenAI's name for how a sequence ended; raises `APIError` when it failed."""
    if output.finish_reason == "stop":
        return "stop"
    if output.finish_reason == "length":
        return "length"
    if output.finish_reason == "cancelled":
        raise shutting_down()
    if output.error is not None:
        raise invalid(
            f"The answer can't follow its grammar: {output.error}.", None, "grammar_failed"
        )
    raise server_error()


def collect(choices: list[Choice], outputs: Iterable[Output]) -> None:
    """Add outputs to the choices they belong to."""
    for output in outputs:
        choices[output.index].add(output)


def usages(choices: Iterable[Choice]) -> list[SequenceUsage]:
    """The usage of finished choices."""
    return [choice.usage for choice in choices if choice.usage is not None]


def best(choices: Sequence[Choice], best_of: int, n: int) -> list[Choice]:
    """Of each ``best_of`` choices of a prompt the ``n`` likeliest, by mean log probability."""
    kept: list[Choice] = []
    for start in range(0, len(choices), best_of):
        group = choices[start : start + best_of]
        ranked = sorted(group, key=lambda choice: choice.mean_logprob, reverse=True)
        kept += ranked[:n]
    return kept


def forget_logprobs(choices: Sequence[Choice]) -> None:
    """Drop the log probabilities of ``choices``, a few in a call; on a thread.

    All those of 4,000 tokens with 20 others each would hold the interpreter for 10 ms.
    """
    for choice in choices:
        for entries in (choice.logprobs, choice.prompt_logprobs):
            while entries:
                del entries[-_FORGOTTEN_AT_ONCE:]
