"""Throughput estimate of prompt tokens, so that no batch begins that outlasts a deadline."""

from __future__ import annotations

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

    def observe(self, n_tokens: int, seconds: float) -> None:
        """Take what a batch took."""
        self.seconds_per_token = seconds / n_tokens

    def tokens_within(self, seconds: float) -> int:
        """Prompt tokens of a batch that should take no longer than ``seconds``."""
        if self.seconds_per_token is None:
            return _UNKNOWN
        n_tokens = seconds / max(self.seconds_per_token, 1e-9)
        return int(min(max(n_tokens, _FEWEST), _ANY))
