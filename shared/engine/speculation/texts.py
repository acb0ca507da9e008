"""Texts that drafts are looked up in: a request's prompt and its prediction, with their indexes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from shared.engine.llama.tokenizer import TokenArray, as_tokens
from shared.engine.speculation.ngrams import SHORT_N, N, NgramIndex


class DraftTexts:
    """Those of one request, which its choices share. Of the engine's thread.

    They are indexed when the first of these drafts from them: without speculation none does.
    """

    def __init__(self, prompt: TokenArray, prediction: Sequence[int]) -> None:
        self.prompt = prompt
        self._prediction = prediction

    @property
    def has_prediction(self) -> bool:
        """Whether the request has said what the completion will mostly be."""
        return bool(self._prediction)

    @cached_property
    def indexed_prompt(self) -> NgramIndex:
        """The prompt, with 128,000 tokens after 5 ms."""
        return NgramIndex(self.prompt, (N, SHORT_N))

    @cached_property
    def indexed_prediction(self) -> NgramIndex:
        """The prediction, likewise."""
        return NgramIndex(as_tokens(self._prediction))
