"""Lookup decoding: drafts from a text that the answer repeats, be it the prompt or a prediction.

A place in the text is found by the last three tokens and followed from there. Where the answer goes
its own way, the token there is first taken for a substitution; then two tokens near that place will
do, since whoever edits a text comes back to it. In what was said before, two tokens anywhere are
followed, too, where there is nothing better: how often they are right differs most from text to
text, and drafts are made of them where they were.
"""

from __future__ import annotations

import numpy as np

from shared.engine.llama.tokenizer import TokenArray
from shared.engine.speculation.acceptance import AcceptanceRates
from shared.engine.speculation.draft import Draft
from shared.engine.speculation.ngrams import SHORT_N, GrowingNgramIndex, N, NgramIndex

_LONGEST = 32
"""Tokens that a match is measured up to."""
_FOLLOWED = 8
"""A match of so many tokens is one to come back to."""
_NEAR = 24
"""Tokens sampled since it was left, and tokens of the text behind and before that place, in which
it is come back to."""


class Lookup:
    """A place in a text where the answer may be, as of the tokens sampled so far.

    The text is a prediction, or what came before: then it grows with the answer.
    """

    def __init__(self, text: NgramIndex, history: TokenArray, *, grows: bool) -> None:
        """A text with its index, of a prompt if it ``grows``.

        ``history``: prompt and answer, the tokens sampled last at its end.
        """
        self.rates = AcceptanceRates()
        self._text = history if grows else text.tokens
        self._n_text = len(text.tokens)
        self._history = history
        self._grows = grows
        self._index = GrowingNgramIndex(text) if grows else text
        self._next = -1
        self._n_matched = 0
        self._is_anywhere = False
        self._left = -1
        self._n_since = 0

    def start(self, n_matched: int) -> None:
        """Expect the text's beginning, as if after a match of ``n_matched`` tokens."""
        self._next, self._n_matched = 0, n_matched

    def follow(self, n_history: int) -> None:
        """Take the token just sampled, the last of ``n_history`` in the history."""
        token = int(self._history[n_history - 1])
        found = self._find(n_history, N) if self._grows or not self._expects(token) else 0
        found_short = self._find(n_history, SHORT_N) if self._grows else 0
        if self._next >= 0:
            is_accepted = self._expects(token)
            is_anywhere, self._is_anywhere = self._is_anywhere, False
            self.rates.observe(self._n_matched, is_accepted=is_accepted, is_anywhere=is_anywhere)
            if is_accepted:
                self._next += 1
                self._n_matched += 1
                return
            self._leave()
        elif self._left >= 0:
            self._n_since += 1
        matched = self._matched(found, n_history)
        if matched >= N:
            self._next, self._n_matched, self._left = found, matched, -1
        elif self._left >= 0 and self._n_since:
            self._come_back(token, n_history)
        if self._next < 0 and self._matched(found_short, n_history) >= SHORT_N:
            self._next, self._n_matched, self._is_anywhere = found_short, SHORT_N, True

    def draft(self, n_tokens: int) -> Draft | None:
        """Up to ``n_tokens`` tokens that come next; None where there is no place in the text."""
        start = self._next
        if start < 0 or start >= self._n_text:
            return None
        tokens = self._text[start : min(start + n_tokens, self._n_text)].tolist()
        if self._grows and len(tokens) < n_tokens:  # it repeats itself
            period = tokens
            while len(tokens) < n_tokens:
                tokens = tokens + period
            tokens = tokens[:n_tokens]
        chances = self.rates.chances(self._n_matched, len(tokens), is_anywhere=self._is_anywhere)
        return Draft(tokens, chances)

    def _expects(self, token: int) -> bool:
        return 0 <= self._next < self._n_text and int(self._text[self._next]) == token

    def _leave(self) -> None:
        """Go on behind the token that was not sampled; if that did not help, give up the place."""
        if self._n_matched >= (1 if self._left >= 0 else _FOLLOWED):
            self._left, self._n_since = self._next, 0
        if self._n_matched > 0 and self._next + 1 < self._n_text:
            self._next += 1
        else:
            self._next = -1
            self._n_since += 1
        self._n_matched = 0

    def _come_back(self, token: int, n_history: int) -> None:
        """Look for the last two tokens near the place that was left."""
        if self._n_since > _NEAR:
            self._left = -1
            return
        start = max(self._left - _NEAR, 0)
        n_before = self._n_text - self._grows  # a text's own end would be followed for ever
        near = self._text[start : min(self._left + _NEAR, n_before)]
        before = self._history[n_history - 2]
        places = np.flatnonzero((near[1:] == token) & (near[:-1] == before)) + start + 2
        if len(places):
            likeliest = self._left + self._n_since
            self._next = int(places[np.abs(places - likeliest).argmin()])
            self._n_matched = 2

    def _find(self, n_history: int, n: int) -> int:
        """Where the last ``n`` tokens occurred before, or others did; 0 for nowhere."""
        if self._grows:
            self._n_text = n_history
        if n_history < n:
            return 0
        ngram = self._history[n_history - n : n_history]
        if isinstance(self._index, NgramIndex):
            return self._index.find(ngram)
        return self._index.replace(ngram, n_history)

    def _matched(self, position: int, n_history: int) -> int:
        """Equal tokens before ``position`` of the text and at the history's end."""
        length = min(position, n_history, _LONGEST)
        if length == 0:
            return 0
        text = self._text[position - length : position]
        differs = text != self._history[n_history - length : n_history]
        last = int(differs[::-1].argmax())
        return last if differs[length - 1 - last] else length
