"""Prompt costs: how long a call takes that evaluates prompts, learnt from the calls.

So much for the call, and so much for each of its tokens: by that prompts share calls, and are
padded to one length (`prompt_groups`).
"""

from __future__ import annotations

from collections import deque

import numpy as np

_KEPT = 32
"""Calls that count."""
_FIT_EVERY, _FIRST_FIT = 64, 16
"""Calls from one fit to the next, and as long as nothing is known. A fit takes 0.1 ms."""
_LONGEST = 128
"""Tokens of the prompts whose calls count."""
_APART = 4
"""Tokens by which two calls differ that tell what a token takes."""
_FEWEST_PAIRS = 16
"""Such pairs without which nothing is known."""
_UNKNOWN = 0.01
"""What a call takes, in tokens' time, before anything is known: one length is tried, no padding."""


class PromptCosts:
    """What a call takes that evaluates prompts: so much, and so much for each token.

    A line through the last calls by the median of the slopes between them (Theil and Sen), which
    the calls that wait for other programs hardly bend. Of one engine, and its thread's.
    """

    def __init__(self) -> None:
        self._calls: deque[tuple[int, float]] = deque(maxlen=_KEPT)
        self._n_new = 0
        self.token_seconds: float | None = None
        """None where that is not known: all calls had about as many tokens."""
        self.call_tokens = _UNKNOWN
        """What a call takes besides its tokens, in the time of so many of them."""

    def observe(self, n_prompts: int, n_tokens: int, seconds: float) -> None:
        """Take what a call took. Long prompts don't count: their attention grows faster."""
        if n_tokens <= n_prompts * _LONGEST:
            self._calls.append((n_tokens, seconds))
            self._n_new += 1

    def update(self) -> None:
        """Have the latest calls count, if there are enough of them; before the rest is read."""
        if self._n_new >= (_FIRST_FIT if self.token_seconds is None else _FIT_EVERY):
            self._n_new = 0
            self._fit()

    def _fit(self) -> None:
        calls = np.array(self._calls)
        tokens, seconds = calls[:, 0], calls[:, 1]
        more = np.subtract.outer(tokens, tokens)
        pairs = more >= _APART
        slopes = np.subtract.outer(seconds, seconds)[pairs] / more[pairs]
        if len(slopes) < _FEWEST_PAIRS:
            self.token_seconds, self.call_tokens = None, _UNKNOWN
            return
        slope = max(float(np.median(slopes)), 1e-9)
        self.token_seconds = slope
        self.call_tokens = max(float(np.median(seconds - slope * tokens)), 0.0) / slope
