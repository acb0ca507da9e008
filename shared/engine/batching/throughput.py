"""Throughput estimate of prompt tokens, so that no batch begins that outlasts a deadline."""

from __future__ import annotations

import math

_FEWEST = 16
"""Prompt tokens of a batch, however near the deadline: fewer take hardly less time."""
_UNKNOWN = 64
"""The same before anything has been measured."""
_ANY = 2**31
"""More than any batch holds."""


class ThroughputEstimate:
    """Seconds that a prompt token takes, as of the last batch with some."""

    def __init__(self) -> None:
        self.seconds_per_token: float | None = None
        """None before anything has been measured."""
        self._last: dict[int, tuple[int, float]] = {}
        """The last batch of each order of magnitude, by powers of two."""

    def observe(self, n_tokens: int, seconds: float) -> None:
        """Take what a batch took."""
        self.seconds_per_token = seconds / n_tokens
        self._last[n_tokens.bit_length()] = (n_tokens, seconds)

    def most_seconds(self, n_tokens: int) -> float:
        """What a batch of ``n_tokens`` should take at most, by one of about as many.

        Each takes some time besides its tokens, of which a large one tells nothing. Infinite where
        there was none.
        """
        size = n_tokens.bit_length()
        for nearest in (size, size + 1, size - 1):
            found = self._last.get(nearest)
            if found is not None:
                n_then, seconds = found
                return seconds * max(n_tokens / n_then, 1.0)
        return math.inf

    def tokens_within(self, seconds: float) -> int:
        """Prompt tokens of a batch that should take no longer than ``seconds``."""
        if self.seconds_per_token is None:
            return _UNKNOWN
        n_tokens = seconds / max(self.seconds_per_token, 1e-9)
        return int(min(max(n_tokens, _FEWEST), _ANY))
