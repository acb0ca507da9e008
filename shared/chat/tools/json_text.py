"""Incremental JSON parser: where values end in text that arrives in pieces, not what they mean."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from shared.chat.cursor import Cursor, Step

_IN_OBJECT = re.compile(r'["{}\[\]]')
_IN_STRING = re.compile(r'["\\]')
_SCALAR = re.compile(r"[-+.\w]+")
_UNFINISHED_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\(?:u[0-9a-fA-F]{0,3})?\Z")
_CLOSING = {"{": "}", "[": "]"}


def value(cursor: Cursor, emit: Callable[[str], object]) -> Step[bool]:
    """Read a JSON value and hand its text to ``emit`` as it arrives; whether it was complete.

    Only brackets and strings are looked at. Reading stops before a bracket that closes the wrong
    one, and at once before text that begins no value.
    """
    scanner = _ValueScanner()
    while not scanner.is_complete and (yield from cursor.peek()):
        end = scanner.scan(cursor.text, cursor.position)
        if end == cursor.position:
            break
        emit(cursor.take(end))
    return scanner.is_complete or scanner.is_scalar


def string(cursor: Cursor) -> Step[str | None]:
    """Read a JSON string; None if there is none, or no complete one."""
    pieces: list[str] = []
    if (yield from cursor.peek()) != '"' or not (yield from value(cursor, pieces.append)):
        return None
    try:
        text = json.loads("".join(pieces), strict=False)
        assert isinstance(text, str)
        text.encode("utf-8")
    except ValueError:  # an escape that JSON does not have, or half a surrogate pair
        return None
    return text


def arguments(cursor: Cursor, emit: Callable[[str], object]) -> Step[bool]:
    """Read a call's arguments as `value` does, and see that they are an object if they can be one.

    Models that saw calls in OpenAI's form write the object as a string, as it has to be there, and
    null where there is nothing to say. Both are held back until they are whole.
    """
    if (yield from cursor.peek()) in ("{", "["):
        return (yield from value(cursor, emit))
    pieces: list[str] = []
    is_whole = yield from value(cursor, pieces.append)
    written = "".join(pieces)
    emit(_object_in(written) if is_whole else _begun_object_in(written))
    return is_whole


def _object_in(written: str) -> str:
    """The text of the object that a string has in it; what is none stays as it was written."""
    try:
        text = written
        meaning = json.loads(text, strict=False)
        while isinstance(meaning, str) and meaning.strip():
            text = meaning
            meaning = json.loads(text, strict=False)
        if meaning is None or isinstance(meaning, str):
            return "{}"
        if not isinstance(meaning, dict):
            return written
        try:
            json.loads(text)  # whether it is JSON to those who are strict
            text.encode("utf-8")
        except ValueError:
            return json.dumps(meaning)
    except (ValueError, RecursionError):
        return written
    return text


def _begun_object_in(written: str) -> str:
    """The beginning of the object that an unfinished string has in it, or what was written."""
    whole = _UNFINISHED_ESCAPE.sub(r"\1", written)
    try:
        text: str = json.loads(f'{whole}"', strict=False)
        text.encode("utf-8")
    except ValueError:
        return written
    return text if text.lstrip().startswith("{") else written


class _ValueScanner:
    """Finds the end of a JSON value: each character is looked at once."""

    __slots__ = ("_in_string", "_is_escaped", "_open", "is_complete", "is_scalar")

    def __init__(self) -> None:
        self._open: list[str] = []
        self._in_string = False
        self._is_escaped = False
        self.is_complete = False
        self.is_scalar = False
        """Whether it is a number or a word, which only ends where something else begins."""

    def scan(self, text: str, position: int) -> int:
        """The index in ``text`` up to which the value goes, beginning or going on at ``position``.

        The value's end, or the text's where the value goes on behind it.
        """
        while position < len(text) and not self.is_complete:
            if self._is_escaped:
                self._is_escaped = False
                position += 1
                continue
            if not self._in_string and not self._open:
                scalar = _SCALAR.match(text, position)
                if self.is_scalar or scalar:
                    self.is_scalar = True
                    return scalar.end() if scalar else position
                if text[position] not in '"{[':
                    return position
            found = (_IN_STRING if self._in_string else _IN_OBJECT).search(text, position)
            if found is None:
                return len(text)
            if not self._accept(found[0]):
                return found.start()
            position = found.end()
        return position

    def _accept(self, character: str) -> bool:
        """Take a character that has a meaning; whether it may stand here."""
        if character == "\\":
            self._is_escaped = True
        elif character == '"':
            self._in_string = not self._in_string
        elif character in _CLOSING:
            self._open.append(_CLOSING[character])
        elif self._open[-1] == character:
            self._open.pop()
        else:
            return False
        self.is_complete = not self._in_string and not self._open
        return True
