"""DRY ("don't repeat yourself"): a penalty that grows with the length of a repetition."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

from shared.engine.types import SamplingParams

Piece = Callable[[int], bytes]
"""The bytes of a token's text."""

_MAX_LOG_PENALTY = 69.0
"""Natural logarithm of the largest penalty: 1e30, which a 32-bit logit survives."""


class Dry:
    """The repetitions in one sequence.

    When the latest n tokens occurred before, the token that came after them then would make the
    repetition n + 1 tokens long: its logit falls by ``multiplier * base ** (n - allowed_length)``.
    Repetitions shorter than ``allowed_length`` are free, and no repetition is followed back across
    a sequence breaker; tokens that contain a breaker are never penalised. The rule is p-e-w's
    (2024), details as in llama.cpp, except for where it looks: llama-server counts the prompt's
    tokens too, which would make a model reluctant to quote what it was given, and take time that
    is quadratic in a prompt which repeats itself.

    Its own sampler searches the whole vocabulary for the breakers of each request, 150 ms for 16 of
    them and 152,000 tokens. Here breakers are looked for in the text that was sampled, which also
    finds those that the model spells with other tokens.
    """

    def __init__(self, params: SamplingParams, piece: Piece) -> None:
        self._log_multiplier = math.log(params.dry_multiplier)
        self._log_base = math.log(params.dry_base)
        self._allowed_length = params.dry_allowed_length
        self._window = params.dry_penalty_last_n
        self._breakers = [breaker.encode("utf-8") for breaker in params.dry_sequence_breakers]
        self._piece = piece
        self._tokens: list[int] = []
        self._positions: defaultdict[int, list[int]] = defaultdict(list)
        self._repeated: dict[int, int] = {}
        """Positions of the latest token before, each with how many tokens up to there equal the
        latest ones."""
        self._n_unbroken = 0
        """Tokens since the last breaker."""
        self._tail = b""
        """The end of the text, one byte shorter than the longest breaker."""

    def accept(self, token: int) -> None:
        """Note the token that was sampled."""
        before = self._repeated
        positions = self._positions[token]
        self._repeated = {position: before.get(position - 1, 0) + 1 for position in positions}
        positions.append(len(self._tokens))
        self._tokens.append(token)
        self._n_unbroken = 0 if self._ends_breaker(self._piece(token)) else self._n_unbroken + 1

    def _ends_breaker(self, piece: bytes) -> bool:
        text = self._tail + piece
        # A breaker that ended before this token is not to be found again.
        found = any(
            text.find(breaker, max(0, len(self._tail) - len(breaker) + 1)) >= 0
            for breaker in self._breakers
        )
        n_tail = max(map(len, self._breakers), default=1) - 1
        self._tail = text[max(0, len(text) - n_tail) :]
        return found

    def penalties(self) -> dict[int, float]:
        """What to subtract from the logits of tokens that would continue a repetition."""
        start = max(0, len(self._tokens) - self._window) if self._window >= 0 else 0
        longest: dict[int, int] = {}
        if self._allowed_length == 0:
            longest = dict.fromkeys(self._tokens[start + 1 :], 0)
        for position, repeated in self._repeated.items():
            length = min(repeated, position - start + 1, self._n_unbroken)
            if length >= max(1, self._allowed_length):
                following = self._tokens[position + 1]
                longest[following] = max(length, longest.get(following, 0))
        return {
            token: self._penalty(length)
            for token, length in longest.items()
            if not any(breaker in self._piece(token) for breaker in self._breakers)
        }

    def _penalty(self, length: int) -> float:
        log = self._log_multiplier + (length - self._allowed_length) * self._log_base
        return math.exp(min(log, _MAX_LOG_PENALTY))
