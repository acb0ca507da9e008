"""Context window: how many tokens a sequence may have, and which stay when its context is full.

Without context shift a completion ends there. With it the older half of what is not kept is
dropped, and the rest goes on. llama.cpp's server moves the cells of the rest to their new
positions. Here they are evaluated anew: other sequences may share them, and their values would
still tell of what was dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.engine.llama.tokenizer import TokenArray
from shared.engine.types import GenerationRequest


@dataclass(frozen=True, slots=True)
class ContextWindow:
    """``n_ctx`` tokens of prompt and completion; ``shifts``: whether old ones make room for new."""

    n_ctx: int
    shifts: bool = False

    def limit(self, n_predict: int) -> int:
        """Completion tokens that a choice may have, where ``n_predict`` is said; 0 for nothing."""
        if self.shifts:
            return n_predict or self.n_ctx
        return min(n_predict or self.n_ctx, self.n_ctx)

    def most(self, request: GenerationRequest) -> int:
        """Completion tokens that a choice of ``request`` can have."""
        if self.shifts:
            return request.max_tokens
        return min(request.max_tokens, self.n_ctx - len(request.prompt))

    def shift(self, tokens: TokenArray, request: GenerationRequest) -> tuple[TokenArray, int]:
        """What stays of ``tokens``, and how many of its first ones were the first before, too.

        At most half of the context is kept, and at least half of the rest dropped: whatever the
        request asks for, a new token costs no more than a few that are evaluated again.
        """
        n_keep = len(request.prompt) if request.n_keep < 0 else request.n_keep
        n_keep = min(n_keep, self.n_ctx // 2)
        n_rest = len(tokens) - n_keep
        n_dropped = min(max(request.n_discard, n_rest // 2), n_rest - 1)
        return np.concatenate([tokens[:n_keep], tokens[n_keep + n_dropped :]]), n_keep
