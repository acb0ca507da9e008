"""Context tokens of a sequence: its prompt and what is sampled, and how many more there may be."""

from __future__ import annotations

import numpy as np

from shared.engine.context_window import ContextWindow
from shared.engine.llama.tokenizer import TokenArray
from shared.engine.types import GenerationRequest


class ContextTokens:
    """The tokens of a choice. ``sampled`` grows; context shift drops what is older.

    `Sequence` is one, rather than has one: steps ask for these of every sequence, and each would
    be a call more.
    """

    __slots__ = (
        "_beginning",
        "_max_tokens",
        "_n_before",
        "_window",
        "n_dropped",
        "n_prompt",
        "prompt",
        "request",
        "sampled",
    )

    def __init__(
        self, request: GenerationRequest, prompt: TokenArray, window: ContextWindow
    ) -> None:
        """``prompt``: of ``request``, as an array that all its choices share."""
        self.request = request
        self.prompt = prompt
        self.n_prompt = len(prompt)
        self.sampled: list[int] = []
        self.n_dropped = 0
        """Tokens that context shift has dropped."""
        self._window = window
        self._max_tokens = window.most(request)
        self._beginning = prompt
        self._n_before = 0
        """Sampled tokens that are in ``_beginning``, or dropped."""

    @property
    def n_tokens(self) -> int:
        """Prompt and sampled tokens, but for those that context shift has dropped."""
        return len(self._beginning) + len(self.sampled) - self._n_before

    @property
    def last_token(self) -> int:
        """The token that a decode evaluates."""
        return self.sampled[-1] if self.sampled else int(self.prompt[-1])

    @property
    def n_remaining(self) -> int:
        """Tokens that may still be sampled."""
        return self._max_tokens - len(self.sampled)

    @property
    def n_room(self) -> int:
        """Tokens that may still be sampled before the context is full."""
        return min(self.n_remaining, self._window.n_ctx - self.n_tokens)

    @property
    def tokens(self) -> TokenArray:
        """Prompt and sampled tokens: what a prefill after a preemption has to evaluate."""
        sampled = self.sampled[self._n_before :]
        if not sampled:
            return self._beginning
        return np.concatenate([self._beginning, np.array(sampled, dtype=np.int32)])

    def shift_context(self) -> int:
        """Drop tokens of a full context; how many of its first ones have stayed."""
        n_tokens = self.n_tokens
        self._beginning, n_kept = self._window.shift(self.tokens, self.request)
        self._n_before = len(self.sampled)
        self.n_dropped += n_tokens - self.n_tokens
        return n_kept
