"""The unit of the corpus: a conversation or a plain document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

Message = dict[str, Any]
Tool = dict[str, Any]

T = TypeVar("T")


@dataclass(frozen=True)
class Sample:
    """One training or evaluation example.

    Attributes:
        task: Which generator made it; the evaluation reports per task.
        messages: A conversation in OpenAI's message format, ending with the assistant's answer.
        tools: Tools offered to the assistant, in OpenAI's format.
        thinking: Whether the last answer is preceded by reasoning.
        document: A text without a chat template, instead of messages.
    """

    task: str
    messages: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] = ()
    thinking: bool = False
    document: str | None = None


@dataclass(frozen=True)
class Exchange:
    """A user's request and the assistant's answer to it.

    `reasoning` is what the assistant thinks first when thinking is on; None where the task has no
    thinking variant.
    """

    task: str
    request: str
    answer: str
    reasoning: str | None = None

    def messages(self, thinking: bool = False) -> list[Message]:
        answer: Message = {"role": "assistant", "content": self.answer}
        if thinking:
            answer["reasoning_content"] = self.reasoning
        return [{"role": "user", "content": self.request}, answer]


def weighted(rng: Random, options: dict[T, float]) -> T:
    """One of the keys of `options`, drawn with its value as weight."""
    return rng.choices(list(options), weights=list(options.values()))[0]


def main_or_other(rng: Random, replies: Sequence[str]) -> str:
    """Mostly the first reply, so that greedy decoding has a clear winner."""
    return replies[0] if len(replies) == 1 or rng.random() < 0.9 else rng.choice(replies[1:])


def typed(rng: Random, text: str) -> str:
    """`text` as a person might type it: now and then in lower case or without the final mark."""
    if rng.random() < 0.15:
        text = text.lower()
    if rng.random() < 0.2:
        text = text.rstrip("?.!")
    return text
