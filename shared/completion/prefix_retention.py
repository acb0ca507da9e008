"""Retention of a prompt in the prefix cache, by OpenAI's fields for prompt caching.

``prompt_cache_options.ttl`` is the least time that a prompt is to be kept,
``prompt_cache_retention`` the longest place: neither changes what the other says. With the mode
``explicit`` a prompt without a breakpoint is not cached at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.protocol.errors import invalid

_RETENTIONS = ("in_memory", "in-memory", "24h")
"""OpenAI's documentation has spelt the first one both ways."""
_LIFETIMES = ("5m", "30m", "1h", "12h", "24h")


@dataclass(frozen=True, slots=True)
class PrefixRetention:
    """What the prefix cache does with a prompt."""

    is_looked_up: bool = True
    """Whether what is cached of it need not be evaluated."""
    is_stored: bool | None = None
    """Whether it is kept for other processes, too; None if only when it is seen twice."""


def prefix_retention(asked: Any) -> PrefixRetention:
    """What a request's fields ask for; raises `APIError` 400 for what no cache here does.

    Who names a cache key, marks a breakpoint, or names a time longer than a process has, expects to
    come back.
    """
    retention = asked.declared("prompt_cache_retention")
    if retention is not None and retention not in _RETENTIONS:
        raise invalid("'prompt_cache_retention' is 'in_memory' or '24h'.", "prompt_cache_retention")
    options = asked.declared("prompt_cache_options")
    lifetime = options.ttl if options is not None else None
    if lifetime is not None and lifetime not in _LIFETIMES:
        raise invalid(
            "'prompt_cache_options.ttl' is '5m', '30m', '1h', '12h' or '24h'.",
            "prompt_cache_options.ttl",
        )
    is_explicit = options is not None and options.mode == "explicit"
    if is_explicit and not _has_breakpoint(asked):
        return PrefixRetention(is_looked_up=False, is_stored=False)
    is_looked_up = asked.cache_prompt is not False
    if retention in ("in_memory", "in-memory"):
        return PrefixRetention(is_looked_up, is_stored=False)
    is_asked_for = retention == "24h" or lifetime is not None or bool(asked.prompt_cache_key)
    is_stored = is_asked_for or _has_breakpoint(asked)
    return PrefixRetention(is_looked_up, is_stored=True if is_stored else None)


def _has_breakpoint(asked: Any) -> bool:
    """Whether a part of a message is marked as the end of what comes again."""
    contents = (message.content for message in asked.declared("messages") or ())
    return any(
        getattr(part, "prompt_cache_breakpoint", None) is not None
        for content in contents
        if isinstance(content, list)
        for part in content
    )
