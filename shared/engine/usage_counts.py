"""Usage of a sequence: what is counted and timed of it for its answer's ``usage`` and timings."""

from __future__ import annotations

import time

from shared.engine.context_tokens import ContextTokens
from shared.engine.types import SequenceUsage


class UsageCounts:
    """Counts, and moments on `time.monotonic`'s clock. Its sequence writes them as it goes."""

    __slots__ = (
        "n_accepted",
        "n_accepted_predicted",
        "n_drafted",
        "n_predicted",
        "time_admitted",
        "time_first_token",
        "time_submitted",
    )

    def __init__(self, time_submitted: float) -> None:
        self.time_submitted = time_submitted
        self.time_admitted: float | None = None
        self.time_first_token: float | None = None
        self.n_drafted = 0
        self.n_accepted = 0
        self.n_predicted = 0
        """Of the drafted tokens, those from the request's prediction."""
        self.n_accepted_predicted = 0

    def usage(
        self, tokens: ContextTokens, n_cached: int, n_restored: int, restore_seconds: float
    ) -> SequenceUsage:
        """The usage until now; ``n_cached`` tokens and more are as in `SequenceUsage`."""
        now = time.monotonic()
        admitted = self.time_admitted or now
        first = self.time_first_token or now
        return SequenceUsage(
            prompt_tokens=tokens.n_prompt,
            cached_tokens=n_cached,
            restored_tokens=n_restored,
            restore_seconds=restore_seconds,
            completion_tokens=len(tokens.sampled),
            queue_seconds=admitted - self.time_submitted,
            prefill_seconds=first - admitted,
            decode_seconds=now - first,
            draft_tokens=self.n_drafted,
            accepted_draft_tokens=self.n_accepted,
            prediction_tokens=self.n_predicted,
            accepted_prediction_tokens=self.n_accepted_predicted,
            dropped_tokens=tokens.n_dropped,
        )
