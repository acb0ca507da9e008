"""Repetition, presence and frequency penalties on logits."""

from __future__ import annotations

from collections import Counter, deque

import numpy as np

from shared.engine.llama.context import LogitsArray
from shared.engine.sampling.dry import Dry, Piece
from shared.engine.types import SamplingParams


class Penalties:
    """The penalties of one sequence. All of them look at sampled tokens only, not at the prompt.

    ``repeat_penalty`` is llama.cpp's: positive logits are divided by it and negative ones
    multiplied, over the last ``repeat_last_n`` tokens. Then OpenAI's formula: ``logit -= count *
    frequency_penalty + (count > 0) * presence_penalty``. Then DRY's.
    """

    __slots__ = ("_counts", "_dry", "_params", "_recent")

    def __init__(self, params: SamplingParams, piece: Piece) -> None:
        self._params = params
        self._counts: Counter[int] | None = (
            Counter() if params.frequency_penalty or params.presence_penalty else None
        )
        self._recent: deque[int] | None = (
            deque(maxlen=params.repeat_last_n if params.repeat_last_n >= 0 else None)
            if params.repeat_penalty != 1
            else None
        )
        self._dry = Dry(params, piece) if params.dry_multiplier > 0 else None

    @classmethod
    def of(cls, params: SamplingParams, piece: Piece) -> Penalties | None:
        """Those of a new sequence; None when all are off."""
        penalises = (
            params.repeat_penalty != 1
            or params.frequency_penalty
            or params.presence_penalty
            or params.dry_multiplier > 0
        )
        return cls(params, piece) if penalises else None

    def accept(self, token: int) -> None:
        """Note the token that was sampled."""
        if self._counts is not None:
            self._counts[token] += 1
        if self._recent is not None:
            self._recent.append(token)
        if self._dry is not None:
            self._dry.accept(token)

    def apply(self, row: LogitsArray) -> None:
        """Penalise the logits in ``row``, in place."""
        params = self._params
        if self._recent:
            seen = np.fromiter(set(self._recent), np.int32)
            logits = row[seen]
            row[seen] = np.where(
                logits > 0, logits / params.repeat_penalty, logits * params.repeat_penalty
            )
        if self._counts:
            seen = np.fromiter(self._counts, np.int32)
            counts = np.fromiter(self._counts.values(), np.float32)
            row[seen] -= counts * params.frequency_penalty + params.presence_penalty
        if self._dry is not None and (penalties := self._dry.penalties()):
            seen = np.fromiter(penalties, np.int32)
            row[seen] -= np.fromiter(penalties.values(), np.float32)
