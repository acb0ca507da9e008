"""Rate limits in responses: ``x-ratelimit-*`` headers, and the errors of refused requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared.accounts.ledger.reservation import (
    LimitName,
    LimitState,
    RateLimitedError,
    RefusedError,
)
from shared.protocol.errors import APIError, insufficient_quota, rate_limited

_WORDS: Mapping[LimitName, str] = {
    "requests_per_minute": "requests per min (RPM)",
    "tokens_per_minute": "tokens per min (TPM)",
    "requests_per_day": "requests per day (RPD)",
}
_HEADERS: Sequence[tuple[str, tuple[LimitName, ...]]] = (
    ("requests", ("requests_per_minute", "requests_per_day")),
    ("tokens", ("tokens_per_minute",)),
)
"""What headers are called, and the limits they may tell: the one that has least left."""


def limit_refusal(error: RefusedError, project_id: str, model: str) -> APIError:
    """The error of a request that was refused."""
    if not isinstance(error, RateLimitedError):
        return insufficient_quota(
            f"Project '{project_id}' has reached its spend limit for this month, or this "
            "request could go beyond it. GET /v1/key tells what is left."
        )
    state, words = error.state, _WORDS[error.name]
    headers = limit_headers({error.name: state})
    where = f"on {words} of model '{model}' for project '{project_id}'"
    if error.needed > state.limit:
        return rate_limited(
            f"This request needs up to {error.needed}, more than the limit {where}, which is "
            f"{state.limit}. Shorten the prompt or ask for fewer tokens.",
            {**headers, "x-should-retry": "false"},
        )
    return rate_limited(
        f"The limit {where} is {state.limit}, of which {state.remaining} are left; this "
        f"request needs up to {error.needed}. Try again in {error.retry_after} s.",
        {**headers, "retry-after": str(error.retry_after)},
    )


def limit_headers(states: Mapping[LimitName, LimitState]) -> dict[str, str]:
    """``x-ratelimit-*`` as OpenAI has them."""
    headers: dict[str, str] = {}
    for kind, names in _HEADERS:
        found = [states[name] for name in names if name in states]
        if found:
            tightest = min(found, key=lambda state: state.remaining)
            headers[f"x-ratelimit-limit-{kind}"] = str(tightest.limit)
            headers[f"x-ratelimit-remaining-{kind}"] = str(tightest.remaining)
            headers[f"x-ratelimit-reset-{kind}"] = duration(tightest.reset_seconds)
    return headers


def duration(seconds: float) -> str:
    """A duration as in OpenAI's headers: ``6m0s``, ``1.5s``, ``12ms``."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    hours, rest = divmod(round(seconds, 3), 3600)
    minutes, rest = divmod(rest, 60)
    parts = [f"{hours:.0f}h"] if hours else []
    parts += [f"{minutes:.0f}m"] if hours or minutes else []
    return "".join([*parts, f"{rest:g}s"])
