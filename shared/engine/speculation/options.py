"""Options of speculative decoding. Imports neither NumPy nor llama.cpp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SpeculationType = Literal["none", "prediction", "ngram-simple"]
"""Where drafts come from; names that llama-server has, too, are its own."""


@dataclass(frozen=True, kw_only=True)
class SpeculationOptions:
    """How an engine speculates.

    - ``n_max``: tokens of the longest draft.
    - ``looks_up``: drafts come from prompts and answers, too, not from predictions alone.
    """

    n_max: int = 16
    looks_up: bool = True

    @classmethod
    def of(cls, kind: SpeculationType, n_max: int) -> SpeculationOptions | None:
        """Those of the settings; None where nothing is drafted."""
        return None if kind == "none" else cls(n_max=n_max, looks_up=kind != "prediction")
