"""Options of speculative decoding. Imports neither NumPy nor llama.cpp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SpeculationType = Literal["none", "prediction", "draft-simple", "ngram-simple"]
"""Where drafts come from; names that llama-server has, too, are its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftLimits:
    """What one request asks of its drafts, in `SpeculationOptions`' terms; None for nothing.

    Drafts are never longer than the engine's own longest. ``n_max`` 0 asks for none, and so does an
    ``n_min`` that no draft reaches.
    """

    n_max: int | None = None
    n_min: int | None = None
    p_min: float | None = None


NO_LIMITS = DraftLimits()


@dataclass(frozen=True, kw_only=True)
class SpeculationOptions:
    """How an engine speculates.

    - ``n_max``: tokens of the longest draft; shorter ones than ``n_min`` are not evaluated.
    - ``p_min``: the probability that a draft model has to give a token.
    - ``looks_up``: drafts come from prompts and answers, too.
    - ``has_draft_model``: drafts come from a draft model, too, which computes with ``n_threads``
      threads, 0 for as many as suit it.
    """

    n_max: int = 16
    n_min: int = 0
    p_min: float = 0.0
    looks_up: bool = True
    has_draft_model: bool = False
    n_threads: int = 0

    def longest(self, asked: DraftLimits) -> int:
        """``n_max`` for a request that asks for ``asked``."""
        longest = self.n_max if asked.n_max is None else min(self.n_max, asked.n_max)
        return longest if longest >= self.shortest(asked) else 0

    def shortest(self, asked: DraftLimits) -> int:
        """``n_min``, likewise."""
        return self.n_min if asked.n_min is None else asked.n_min

    def least_probability(self, asked: DraftLimits) -> float:
        """``p_min``, likewise."""
        return self.p_min if asked.p_min is None else asked.p_min

    @property
    def types(self) -> str:
        """Where drafts come from in any request, in llama-server's names."""
        found = ["draft-simple"] * self.has_draft_model + ["ngram-simple"] * self.looks_up
        return ",".join(found) or "none"
