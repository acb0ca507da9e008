"""Parser of tool calls that all formats have in common: calls, and text around them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection

from shared.chat.cursor import Cursor, Step
from shared.chat.deltas import ContentDelta, Delta, ToolCallDelta
from shared.chat.tools.call_object import CallObject


class CallParser(ABC):
    """A parser for one format: subclasses say in `message` what stands where.

    Text that begins like a call and turns out to be none is content, unchanged. White space around
    calls is not content.
    """

    separator = ""
    """What may stand between two calls that follow each other, besides white space."""

    def __init__(self) -> None:
        self._cursor = Cursor()
        self._deltas: list[Delta] = []
        self._content: list[str] = []  # behind the deltas, not yet one of them
        self._n_calls = 0
        self._is_after_call = False
        self._space: list[str] = []  # at the end of the content so far: a call may follow
        self._steps = self._all()

    def add(self, text: str) -> list[Delta]:
        """What is certain after ``text``, the next piece."""
        self._cursor.add(text)
        return self._advance()

    def finish(self) -> list[Delta]:
        """The rest: a call that was cut off with the arguments that it has, text as content."""
        self._cursor.end()
        return self._advance()

    def _advance(self) -> list[Delta]:
        next(self._steps, None)
        self._end_content()
        deltas, self._deltas = self._deltas, []
        return deltas

    def _all(self) -> Step[None]:
        yield from self.message()
        if not self._is_after_call:
            self._content += self._space

    @abstractmethod
    def message(self) -> Step[None]:
        """Read the whole message."""

    def content(self, text: str) -> None:
        """``text`` is content."""
        if self._is_after_call:
            self._space.clear()
            text = text.lstrip()
        visible = text.rstrip()
        if visible:
            self._content += [*self._space, visible]
            self._is_after_call = False
            self._space.clear()
        if len(visible) < len(text):
            self._space.append(text[len(visible) :])

    def _end_content(self) -> None:
        if self._content:
            self._deltas.append(ContentDelta("".join(self._content)))
            self._content.clear()

    def text_before(self, marker: str) -> Step[bool]:
        """Read content up to ``marker``, and the marker; False if the message ends without it."""
        return self._cursor.text_before(marker, self.content)

    def take_back(self) -> None:
        """What was read since the marker, or the last call, is content after all."""
        self.content(self._cursor.since_mark())
        self._cursor.mark()

    def begin_call(self, name: str) -> None:
        """Here begins a call."""
        self._end_content()
        self._space.clear()
        self._is_after_call = True
        self._deltas.append(ToolCallDelta(self._n_calls, name))
        self._n_calls += 1

    def arguments(self, text: str) -> None:
        """``text`` is a piece of the arguments of the call that began last."""
        if text:
            self._deltas.append(ToolCallDelta(self._n_calls - 1, arguments=text))

    def calls(self, names: Collection[str] | None = None) -> Step[bool]:
        """Read one or more calls, one after the other or as a list; whether there was any.

        With ``names`` an object is only taken for a call when it calls one of them and has nothing
        else in it. What is no call becomes content.
        """
        cursor = self._cursor
        yield from cursor.space()
        in_list = yield from cursor.literal("[")
        separator = "," if in_list else self.separator
        yield from cursor.space()
        found = False
        while (yield from CallObject(cursor, self, names).read()):
            found = True
            cursor.mark()
            yield from cursor.space()
            is_separated = bool(separator) and (yield from cursor.literal(separator))
            if in_list and not is_separated:
                yield from cursor.literal("]")
                cursor.mark()
                return True
            yield from cursor.space()
            cursor.mark()
        self.take_back()
        return found

    def closing(self, marker: str) -> Step[None]:
        """Read ``marker`` if it comes next, as it should after calls."""
        yield from self._cursor.space()
        yield from self._cursor.literal(marker)
        self._cursor.mark()
