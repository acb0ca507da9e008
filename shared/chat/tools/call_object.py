"""Call as a JSON object: ``{"name": "get_weather", "arguments": {"city": "Paris"}}``."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from shared.chat.cursor import Cursor, Step
from shared.chat.tools import json_text

_ARGUMENTS = ("arguments", "parameters")
_ALSO_IN_CALLS = ("id", "type")


class CallSink(Protocol):
    """Takes what a call is made of."""

    def begin_call(self, name: str) -> None:
        """Here begins a call."""

    def arguments(self, text: str) -> None:
        """``text`` is a piece of the arguments of the call that began last."""


class CallObject:
    """Reads one call. Arguments are handed on as they arrive, as soon as the name is known.

    A comma too many or too few does not matter, and what the text lacks at its end was cut off.
    """

    def __init__(self, cursor: Cursor, sink: CallSink, names: Collection[str] | None) -> None:
        """With ``names`` an object that has other names, or other keys, is no call."""
        self._cursor = cursor
        self._sink = sink
        self._names = names
        self._name: str | None = None
        self._held: list[str] | None = None  # arguments that came before the name
        self._has_begun = False

    def read(self) -> Step[bool]:
        """Read the object; whether it is a call."""
        cursor = self._cursor
        is_complete = False
        goes_on = yield from cursor.literal("{")
        while goes_on:
            yield from cursor.space()
            is_complete = yield from cursor.literal("}")
            goes_on = not is_complete and (yield from self._entry())
        if self._name is not None and not self._has_begun and (is_complete or cursor.at_end):
            self._begin()
            self._sink.arguments("{}" if is_complete else "")
        return self._has_begun

    def _entry(self) -> Step[bool]:
        """Read a key, its value and a comma; False where the object, or the call, ends."""
        cursor = self._cursor
        key = yield from json_text.string(cursor)
        yield from cursor.space()
        if key is None or not (yield from cursor.literal(":")):
            return False
        yield from cursor.space()
        if key == "name" and self._name is None:
            is_whole = yield from self._read_name()
        elif key in _ARGUMENTS and not self._has_begun and self._held is None:
            is_whole = yield from json_text.arguments(cursor, self._taker())
        elif self._names is None or key in _ALSO_IN_CALLS:
            is_whole = yield from json_text.value(cursor, _ignore)
        else:
            self._name = None
            is_whole = False
        if is_whole:
            yield from cursor.space()
            yield from cursor.literal(",")
        return is_whole

    def _read_name(self) -> Step[bool]:
        """Read a name; False if it can't be called."""
        name = yield from json_text.string(self._cursor)
        if not name or (self._names is not None and name not in self._names):
            return False
        self._name = name
        if self._held is not None:
            self._begin()
            self._sink.arguments("".join(self._held))
        return True

    def _taker(self) -> Callable[[str], None]:
        """Where the arguments go."""
        if self._name is None:
            self._held = []
            return self._held.append
        self._begin()
        return self._sink.arguments

    def _begin(self) -> None:
        assert self._name is not None
        self._has_begun = True
        self._sink.begin_call(self._name)


def _ignore(_text: str) -> None:
    """For values that have no meaning here."""
