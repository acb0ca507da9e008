"""Special tokens of a vocabulary, at which long texts are cut before they are tokenized."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations, groupby
from typing import Any

from shared.engine.any_of import any_of
from shared.engine.llama.bindings import lib

STEP = 1024
"""Characters between two places where a text may be cut."""

_ON_REQUEST = lib.LLAMA_TOKEN_ATTR_CONTROL | lib.LLAMA_TOKEN_ATTR_UNKNOWN
_ALL = _ON_REQUEST | lib.LLAMA_TOKEN_ATTR_USER_DEFINED
_STRIPS = lib.LLAMA_TOKEN_ATTR_LSTRIP | lib.LLAMA_TOKEN_ATTR_RSTRIP
_WINDOW = 8 * STEP
"""Characters that are looked through for a place among tokens that overlap each other."""
_MOST_FOUND = 128
"""Different tokens among which a place is looked for: each is compared with those of its length."""
_TRIES = 16
"""Tokens per step that are looked at: of those that overlap each other none will do."""


class SpecialTokens:
    """The tokens that llama.cpp reads in a text before all others.

    User-defined ones (``<think>``, ``<tool_call>``) and, where they are asked for, control tokens.
    For each that it finds it walks along all that it has found: 40,000 take 25 seconds. In pieces
    that are cut where such a token begins, with all that may overlap it on one side, it finds the
    same ones in time that is linear.
    """

    def __init__(self, vocab: Any, n_vocab: int, *, parse_special: bool) -> None:
        """Look at the whole vocabulary, which takes 80 ms for 150,000 tokens."""
        attributes = {
            token: attribute
            for token in range(n_vocab)
            if (attribute := lib.llama_vocab_get_attr(vocab, token)) & _ALL
        }
        texts: list[bytes] = [
            lib.llama_vocab_get_text(vocab, token)
            for token, attribute in attributes.items()
            if parse_special or not attribute & _ON_REQUEST
        ]
        tokens = {text.decode("utf-8", "replace") for text in texts} - {""}
        self._tokens = sorted(tokens, key=_size, reverse=True)
        """In llama.cpp's order, but for those of one length."""
        self._longest = max(map(len, tokens), default=0)
        self._pattern = re.compile(any_of(sorted(tokens)))
        self._strips = any(attribute & _STRIPS for attribute in attributes.values())
        """Whether tokens eat white space beside them, which may be the beginning of another one."""
        self._cuts = bool(tokens) and not any("\ufffd" in token for token in tokens)

    def pieces(self, text: str) -> Iterator[str]:
        """``text`` in pieces that have the tokens of the whole."""
        start = 0
        if self._cuts:
            for step in range(STEP, len(text), STEP):
                end = self._cut(text, step)
                if end is None and step + STEP - start <= _WINDOW:
                    end = self._cut_among_overlapping(text, start, step + STEP)
                if end is not None and end > start:
                    yield text[start:end]
                    start = end
        yield text[start:]

    def _cut(self, text: str, start: int) -> int | None:
        """The first place within a step from ``start`` on where a text may be cut."""
        border = start + STEP
        for _ in range(_TRIES):
            found = self._pattern.search(text, start, border + self._longest)
            if found is None or found.start() >= border:
                return None
            if self._stands_alone(text, *found.span()):
                return found.start()
            start = found.start() + 1
        return None

    def _cut_among_overlapping(self, text: str, start: int, end: int) -> int | None:
        """The last place before ``end`` where llama.cpp finds a token; None where that is not sure.

        ``start`` is such a place, too. llama.cpp looks for each token in what longer ones have
        left, from left to right, and so does this as far as ``end``. What lies behind ``end`` may
        change what is found before it, but for each token by no more than its length.
        """
        if self._strips:
            return None
        ahead = text[start : end + self._longest]
        characters = set(ahead)
        found = [each for each in self._tokens if each[0] in characters and each in ahead]
        if len(found) > _MOST_FOUND or _is_ambiguous(found):
            return None
        sure = end - start - sum(map(len, found)) if len(ahead) > end - start else len(ahead)
        window = ahead[: end - start]
        last = 0
        rest = [(0, len(window))]
        for token in found:
            left: list[tuple[int, int]] = []
            for begin, stop in rest:
                behind = begin
                while (place := window.find(token, behind, stop)) >= 0:
                    if place + len(token) <= sure:
                        last = max(last, place)
                    left.append((behind, place))
                    behind = place + len(token)
                left.append((behind, stop))
            rest = [(begin, stop) for begin, stop in left if begin < stop]
        return start + last if last else None

    def _stands_alone(self, text: str, start: int, end: int) -> bool:
        """Whether no other special token can take a part of this one."""
        token = text[start:end]
        if self._strips and (token.strip() != token or text[start - 1].isspace()):
            return False
        for position in range(max(start - self._longest + 1, 0), end):
            other = self._pattern.match(text, position)
            if other is not None and other.end() > (start if position < start else end):
                return False
        return True


def _size(token: str) -> int:
    """Bytes, by which llama.cpp sorts tokens."""
    return len(token.encode())


def _is_ambiguous(tokens: Sequence[str]) -> bool:
    """Whether two of ``tokens``, longest first, overlap of which nobody knows which comes first."""
    return any(
        one[cut:] == other[: len(one) - cut] or other[cut:] == one[: len(other) - cut]
        for _, group in groupby(tokens, _size)
        for one, other in combinations(group, 2)
        for cut in range(1, max(len(one), len(other)))
    )
