"""Token counts of a generation by this server's engine, as its usage is metered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from shared.completion.metering import TokenCounts

if TYPE_CHECKING:
    from shared.engine.context_window import ContextWindow
    from shared.engine.types import GenerationRequest, Output, SequenceUsage


class GeneratedTokens(TokenCounts):
    """Tokens as in the answer's ``usage``: each prompt once, the tokens of all choices.

    A choice that was cut off counts with its prompt and the tokens up to its last output.
    """

    def __init__(self, requests: Sequence[GenerationRequest], window: ContextWindow) -> None:
        self._requests = requests
        self._window = window
        self._firsts = _first_choices(requests)
        self._usages: dict[int, SequenceUsage] = {}
        self._sampled: dict[int, int] = {}

    def add(self, outputs: Iterable[Output]) -> None:
        """Count outputs that the caller gets."""
        for output in outputs:
            if output.usage is not None and output.finish_reason is not None:
                self._usages[output.index] = output.usage
            if output.n_sampled:
                self._sampled[output.index] = output.n_sampled

    def most(self) -> tuple[int, int]:
        """All prompts, and for each choice what it may have or the context leaves."""
        prompt = sum(len(request.prompt) for request in self._requests)
        completion = sum(self._window.most(request) * request.n for request in self._requests)
        return prompt, completion

    def used(self) -> tuple[int, int, int]:
        """Of choices that have ended what the engine says of them, of others what was sampled."""
        prompt = cached = 0
        completion = sum(
            usage.completion_tokens if (usage := self._usages.get(index)) is not None else n_sampled
            for index, n_sampled in self._sampled.items()
        )
        for first, request in zip(self._firsts, self._requests, strict=True):
            usage = self._usages.get(first)
            prompt += len(request.prompt) if usage is None else usage.prompt_tokens
            cached += 0 if usage is None else usage.cached_tokens
        return prompt, cached, completion


def _first_choices(requests: Sequence[GenerationRequest]) -> list[int]:
    firsts, index = [], 0
    for request in requests:
        firsts.append(index)
        index += request.n
    return firsts
