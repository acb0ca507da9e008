"""Options of speculative decoding. Imports neither NumPy nor llama.cpp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SpeculationType = Literal["none", "prediction", "draft-simple", "ngram-simple"]
"""Where drafts come from; names that llama-server has, too, are its own."""


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

    @property
    def types(self) -> str:
        """Where drafts come from in any request, in llama-server's names."""
        found = ["draft-simple"] * self.has_draft_model + ["ngram-simple"] * self.looks_up
        return ",".join(found) or "none"
