"""Token counts of a completion by an upstream, as its usage is metered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from shared.completion.metering import TokenCounts
from shared.upstreams.usage_tap import estimated_prompt

_UNNAMED_LIMIT = 4096
"""Completion tokens for each choice that are held where a request names no limit."""
_MOST = 10**7


class UsageSource(Protocol):
    """What reads an answer, as far as its tokens are concerned."""

    @property
    def usage(self) -> tuple[int, int, int] | None:
        """Prompt tokens, cached ones among them, and completion tokens, as the upstream says."""

    @property
    def estimate(self) -> int:
        """Completion tokens by the text that has come."""


class UpstreamTokens(TokenCounts):
    """What the upstream says; estimates before that, and where it says nothing."""

    def __init__(self, data: Mapping[str, Any], source: UsageSource) -> None:
        self._data = data
        self._prompt = estimated_prompt(data)
        self._source = source

    def most(self) -> tuple[int, int]:
        """The prompt by its length, and the request's limit of completion tokens."""
        limit = self._number("max_completion_tokens") or self._number("max_tokens")
        n = max(self._number("n") or 1, self._number("best_of") or 1)
        prompts = self._data.get("prompt")
        if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int):
            n *= len(prompts)
        return self._prompt, min((limit or _UNNAMED_LIMIT) * n, _MOST)

    def used(self) -> tuple[int, int, int]:
        """Prompt tokens, cached ones among them, completion tokens."""
        return self._source.usage or (self._prompt, 0, self._source.estimate)

    def _number(self, name: str) -> int | None:
        value = self._data.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            return None
        return min(value, _MOST)
