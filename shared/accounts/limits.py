"""Rate limits, spend limits and prices: what a project may use, and what it costs."""

from __future__ import annotations

import time
from dataclasses import dataclass

NANODOLLARS = 10**9
"""In a dollar. Money is counted in whole nanodollars: a dollar per million tokens is 1,000 each."""
CENT = NANODOLLARS // 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """Limits of one model for a project; None for no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    requests_per_day: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPrices:
    """Nanodollars for a token: of the prompt, of the prompt from the cache, of the completion."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0

    def most(self, prompt: int, completion: int) -> int:
        """What so many tokens may cost, whether or not some are cached."""
        return prompt * max(self.prompt, self.cached) + completion * self.completion


def month_of(now: float) -> str:
    """The month (UTC) that budgets and alerts are of, at a time in Unix seconds: ``2026-11``.

    Asked for in every write of the ledger; `datetime` takes four times as long.
    """
    then = time.gmtime(now)
    return f"{then.tm_year:04d}-{then.tm_mon:02d}"
