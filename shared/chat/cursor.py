"""Cursor in text that arrives in pieces: reading it as if it were all there.

A parser is written as generators that call each other with ``yield from``. Whoever runs out of
text yields, and goes on where it stopped when there is more. So what a parser finds can't depend
on how the text was split.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from typing import TypeVar

_T = TypeVar("_T")

Step = Generator[None, None, _T]
"""A part of a parser; each ``yield`` waits for more text."""

_SPACE = re.compile(r"[ \t\r\n]*")


class Cursor:
    """A position in a text that grows at its end.

    What was read since `mark` can be had back, for text that turns out to be something else. Every
    character is looked at a bounded number of times, so that reading takes linear time.
    """

    __slots__ = ("_ended", "_taken", "position", "text")

    def __init__(self) -> None:
        self.text = ""
        """The text from some point on; what lies before `position` was read."""
        self.position = 0
        self._ended = False
        self._taken: list[str] = []

    def add(self, text: str) -> None:
        """``text`` has arrived."""
        self.text = self.text[self.position :] + text
        self.position = 0

    def end(self) -> None:
        """No more text will arrive."""
        self._ended = True

    @property
    def at_end(self) -> bool:
        """Whether all text was read and none will come."""
        return self._ended and self.position == len(self.text)

    def take(self, end: int) -> str:
        """The text up to index ``end`` of `text`, which is read with that."""
        taken = self.text[self.position : end]
        self.position = end
        self._taken.append(taken)
        return taken

    def mark(self) -> None:
        """Let `since_mark` begin here."""
        self._taken.clear()

    def since_mark(self) -> str:
        """The text read since the last `mark`."""
        return "".join(self._taken)

    def peek(self) -> Step[str]:
        """The next character, or ``""`` at the end."""
        while self.position == len(self.text) and not self._ended:
            yield
        return self.text[self.position : self.position + 1]

    def literal(self, expected: str) -> Step[bool]:
        """Whether ``expected`` comes next; it is read if it does."""
        while len(self.text) - self.position < len(expected) and not self._ended:
            if not expected.startswith(self.text[self.position :]):
                return False
            yield
        if not self.text.startswith(expected, self.position):
            return False
        self.take(self.position + len(expected))
        return True

    def run(self, characters: re.Pattern[str]) -> Step[str]:
        """The longest text that consists of ``characters``, a pattern like ``[a-z]*``."""
        pieces: list[str] = []
        while (yield from self.peek()):
            match = characters.match(self.text, self.position)
            if match is None or match.end() == self.position:
                break
            pieces.append(self.take(match.end()))
        return "".join(pieces)

    def space(self) -> Step[str]:
        """The longest text of white space, as JSON defines it."""
        return self.run(_SPACE)

    def text_before(self, marker: str, emit: Callable[[str], object]) -> Step[bool]:
        """Hand all text up to ``marker`` to ``emit`` as it arrives, and read ``marker``.

        Returns whether there was one; without, all text was handed on. The `mark` is set before it.
        """
        while True:
            start = self.text.find(marker, self.position)
            found = start >= 0
            if not found:
                n_held = 0 if self._ended else _overlap(self.text, self.position, marker)
                start = len(self.text) - n_held
            if start > self.position:
                emit(self.take(start))
            self.mark()
            if found:
                self.take(start + len(marker))
                return True
            if self._ended:
                return False
            yield


def _overlap(text: str, position: int, marker: str) -> int:
    """The length of the longest end of ``text[position:]`` that ``marker`` begins with."""
    for start in range(max(position, len(text) - len(marker) + 1), len(text)):
        if marker.startswith(text[start:]):
            return len(text) - start
    return 0
