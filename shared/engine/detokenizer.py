"""Detokenizer: whole characters only, and nothing that may still become a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Protocol

_UTF8_DECODER = codecs.getincrementaldecoder("utf-8")


class Render(Protocol):
    """How a token's bytes are found; `shared.engine.llama.model.Model.render`."""

    def __call__(self, token: int, *, special: bool) -> bytes:
        """The token's bytes; ``special`` writes control tokens out."""


class Vocabulary:
    """The text of every token, decoded once.

    ``render`` gives a token's bytes; control tokens have some only when ``special`` asks for them.
    A token whose bytes are whole UTF-8 characters has a text of its own; any other is part of a
    character and has to be decoded with its neighbours.
    """

    def __init__(self, render: Render) -> None:
        self._render = render
        self._texts: dict[int, str | None] = {}

    def text(self, token: int) -> str | None:
        """The token's text, or None when its bytes are not whole characters."""
        try:
            return self._texts[token]
        except KeyError:
            try:
                text: str | None = self.piece(token).decode("utf-8")
            except UnicodeDecodeError:
                text = None
            self._texts[token] = text
            return text

    def piece(self, token: int) -> bytes:
        """The token's bytes; none for control tokens."""
        return self._render(token, special=False)

    def control_text(self, token: int) -> str:
        """A control token written out."""
        return self._render(token, special=True).decode("utf-8", "replace")


class Detokenizer:
    """The text of one sequence, token by token.

    A character split over tokens appears with its last byte; bytes that can't become a character
    appear as U+FFFD.
    """

    __slots__ = ("_decoder", "_pending", "_visible", "_vocabulary")

    def __init__(self, vocabulary: Vocabulary, visible: frozenset[int] = frozenset()) -> None:
        """``visible``: control tokens that appear in the text."""
        self._visible = visible
        self._vocabulary = vocabulary
        self._decoder = _UTF8_DECODER("replace")
        self._pending = False

    def add(self, token: int) -> str:
        """The text that ``token`` completes; empty while a character is unfinished."""
        if not self._pending:
            text = self._vocabulary.text(token)
            if text:
                return text
            if text is not None:
                return self._vocabulary.control_text(token) if token in self._visible else text
        elif token in self._visible:
            return self.flush() + self._vocabulary.control_text(token)
        decoded = self._decoder.decode(self._vocabulary.piece(token))
        self._pending = bool(self._decoder.getstate()[0])
        return decoded

    def flush(self) -> str:
        """What is left where nothing can finish a character any more: U+FFFD for the unfinished."""
        if not self._pending:
            return ""
        self._pending = False
        return self._decoder.decode(b"", final=True)


class StopScope(Protocol):
    """Where in a sequence's text stop strings count, found while the text arrives in pieces.

    That is between two points. What can't be told yet is in no part, until it can. The parts of all
    answers are in the order of the text, which they are together.
    """

    def add(self, text: str) -> tuple[str, str, str]:
        """What is certain after ``text``: before, between and behind the points."""

    def finish(self) -> tuple[str, str, str]:
        """The three parts of the rest, once no more text comes."""


class StopStrings:
    """Finds stop strings in text that arrives in pieces.

    Text that could be the beginning of a stop string is held back until it is decided.
    """

    __slots__ = ("_begun", "_held", "_scope", "_stops", "found")

    def __init__(self, stops: Sequence[str], scope: StopScope | None = None) -> None:
        """``scope`` says where they count; None for everywhere."""
        self._stops = tuple(stops)
        self._scope = scope
        self._held = ""
        self._begun = [0] * len(self._stops)
        """Characters at the end of what is held back that each stop string begins with."""
        self.found: str | None = None
        """The stop string that ended the text."""

    def add(self, text: str) -> str:
        """The part of the text so far that can be shown; sets `found` at a stop string."""
        if self._scope is None:
            return self._searched(text)
        return self._scoped(*self._scope.add(text))

    def flush(self) -> str:
        """The rest that can be shown, once no more text comes; may set `found`, as `add`."""
        rest = "" if self._scope is None else self._scoped(*self._scope.finish())
        return rest + self._let_go()

    def _scoped(self, before: str, text: str, behind: str) -> str:
        shown = before + self._searched(text)
        if self.found is not None or not behind:
            return shown
        return shown + self._let_go() + behind

    def _let_go(self) -> str:
        """What is held back, which no more text follows, or none that counts."""
        held, self._held = self._held, ""
        self._begun = [0] * len(self._stops)
        return held

    def _searched(self, text: str) -> str:
        n_new = len(text)
        text = self._held + text
        first = len(text)
        for stop in self._stops:
            position = text.find(stop)
            if position >= 0 and position < first:
                first, self.found = position, stop
        if self.found is not None:
            self._held = ""
            return text[:first]
        begun = self._begun
        for i, stop in enumerate(self._stops):
            # It has begun where it had begun before, or in the new text.
            begun[i] = _overlap(text, stop, begun[i] + n_new)
        n_held = max(begun, default=0)
        self._held = text[len(text) - n_held :]
        return text[: len(text) - n_held]


def _overlap(text: str, stop: str, longest: int) -> int:
    """The length of the longest end of ``text``, of ``longest`` at most, that ``stop`` begins with.

    ``text`` is at least as long.
    """
    for length in range(min(longest, len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
