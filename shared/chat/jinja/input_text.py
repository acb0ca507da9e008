"""Input marking: the caller's text, kept apart from the template's own while that is rendered.

Whoever writes a message must not write control tokens with it: ``<|im_end|>`` in what a user says,
or what a tool found, would end the turn and begin another. So characters of such texts that a
control token may need are replaced by marks, which no control token has, before the template sees
them. A mark survives whatever a template does with texts, and is turned back into its character
once the control tokens are found that the template has written.

Marks are surrogates, of which no text that was sent as UTF-8 has any.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, SupportsIndex

from markupsafe import Markup, escape

_SHIFT = 0xD800
_MARK = re.compile("[\ud800-\udfff]")

N_MARKABLE = 0x800
"""Characters below this code point have a mark."""


def mark_of(character: str) -> str:
    """What stands for ``character``, which is below `N_MARKABLE`."""
    return chr(ord(character) + _SHIFT)


def unmarked(text: str) -> str:
    """``text`` with the characters that its marks stand for. A different object if it has any."""
    while not str.isascii(text) and (found := _MARK.search(text)):
        text = str.replace(text, found[0], chr(ord(found[0]) - _SHIFT))
    return text


def as_input(text: str) -> str:
    """``text`` as an `InputText` if there are marks in it."""
    if str.isascii(text) or type(text) is InputText or not _MARK.search(text):
        return text
    return InputText(text)


class InputText(str):
    """A text with marks, which compares, searches and splits as if these were the characters.

    So a template that looks into a message finds what it looks for, and whatever part of it comes
    out is still marked. Operations that are not covered see the marks: they find less.
    """

    __slots__ = ("_text",)

    @property
    def _plain(self) -> str:
        try:
            return self._text
        except AttributeError:
            self._text: str = unmarked(str.__str__(self))
            return self._text

    # What is found out about a text.

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self._plain == unmarked(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._plain)

    def __lt__(self, other: str) -> bool:
        return self._plain < unmarked(other)

    def __le__(self, other: str) -> bool:
        return self._plain <= unmarked(other)

    def __gt__(self, other: str) -> bool:
        return self._plain > unmarked(other)

    def __ge__(self, other: str) -> bool:
        return self._plain >= unmarked(other)

    def __contains__(self, part: str) -> bool:  # type: ignore[override]
        return unmarked(part) in self._plain

    # What is made of a text.

    def __str__(self) -> str:
        return self

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        return as_input(str.__getitem__(self, key))

    def __iter__(self) -> Iterator[str]:
        return map(as_input, str.__iter__(self))

    def __repr__(self) -> str:
        quote = repr(self._plain)[0]
        other = '"' if quote == "'" else "'"  # with it in a text, that gets this one's quotes
        pieces = (
            piece if _MARK.match(piece) and _is_plain(unmarked(piece)) else _escaped(piece, other)
            for piece in re.split(f"({_MARK.pattern})", self)
        )
        return as_input(quote + "".join(pieces) + quote)

    def __html__(self) -> str:
        """The text escaped for HTML, which `markupsafe` asks for."""
        text = str(escape(str.__str__(self)))
        for character in "&<>\"'":
            text = text.replace(mark_of(character), str(escape(character)))
        return text

    def __add__(self, other: str) -> str:
        if isinstance(other, Markup):
            return NotImplemented
        return as_input(str.__add__(self, other))

    def __radd__(self, other: str) -> str:
        return as_input(str.__add__(other, self))

    def __mul__(self, times: SupportsIndex) -> str:
        return as_input(str.__mul__(self, times))

    __rmul__ = __mul__

    def strip(self, characters: str | None = None) -> str:
        return self.lstrip(characters).rstrip(characters)

    def lstrip(self, characters: str | None = None) -> str:
        return self[len(self) - len(self._plain.lstrip(_optional(characters))) :]

    def rstrip(self, characters: str | None = None) -> str:
        return self[: len(self._plain.rstrip(_optional(characters)))]

    def removeprefix(self, prefix: str) -> str:
        return self[len(self) - len(self._plain.removeprefix(unmarked(prefix))) :]

    def removesuffix(self, suffix: str) -> str:
        return self[: len(self._plain.removesuffix(unmarked(suffix)))]

    def split(self, separator: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        if separator is None:
            return [*map(as_input, str.split(self, None, maxsplit))]
        return self._pieces(self._plain.split(unmarked(separator), maxsplit), len(separator))

    def rsplit(self, separator: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        if separator is None:
            return [*map(as_input, str.rsplit(self, None, maxsplit))]
        return self._pieces(self._plain.rsplit(unmarked(separator), maxsplit), len(separator))

    def splitlines(self, keepends: bool = False) -> list[str]:
        return [*map(as_input, str.splitlines(self, keepends))]

    def partition(self, separator: str) -> tuple[str, str, str]:
        before, found, after = self._plain.partition(unmarked(separator))
        return self._three(len(before), len(found), len(after))

    def rpartition(self, separator: str) -> tuple[str, str, str]:
        before, found, after = self._plain.rpartition(unmarked(separator))
        return self._three(len(before), len(found), len(after))

    def replace(self, old: str, new: str, count: SupportsIndex = -1) -> str:
        if not old:
            return as_input(str.replace(self, old, new, count))
        return as_input(str.join(new, self.split(old, count)))

    def _three(self, *lengths: int) -> tuple[str, str, str]:
        first, second = lengths[0], lengths[0] + lengths[1]
        return self[:first], self[first:second], self[second:]

    def _pieces(self, pieces: Iterable[str], width: int) -> list[str]:
        """The parts of this text where ``pieces`` are in it, ``width`` characters apart."""
        found: list[str] = []
        position = 0
        for piece in pieces:
            found.append(self[position : position + len(piece)])
            position += len(piece) + width
        return found


def _is_plain(character: str) -> bool:
    """Whether Python's notation has it as it is."""
    return character.isprintable() and character not in "\\'\""


def _escaped(text: str, other: str) -> str:
    """``text`` in Python's notation; ``other``: the quotes that are not around it."""
    return repr(other + unmarked(text))[2:-1]


def _optional(text: str | None) -> str | None:
    return None if text is None else unmarked(text)


def _inspecting(name: str) -> Callable[..., Any]:
    """The method ``name`` of texts, of what the marks stand for."""

    def method(self: InputText, *args: Any) -> Any:
        return getattr(self._plain, name)(*map(_argument, args))

    method.__name__ = name
    return method


def _argument(value: Any) -> Any:
    if isinstance(value, str):
        return unmarked(value)
    return tuple(map(_argument, value)) if isinstance(value, tuple) else value


def _changing_case(name: str) -> Callable[[InputText], str]:
    """The method ``name`` of texts, which marks stay marked through."""

    def method(self: InputText) -> str:
        changed = list(getattr(self._plain, name)())
        if len(changed) != len(self):
            return as_input(getattr(str, name)(self))
        for mark in _MARK.finditer(self):
            changed[mark.start()] = mark_of(changed[mark.start()])
        return as_input("".join(changed))

    method.__name__ = name
    return method


for _name in ("startswith", "endswith", "find", "rfind", "index", "rindex", "count", "encode"):
    setattr(InputText, _name, _inspecting(_name))
for _name in dir(str):
    if _name.startswith("is"):
        setattr(InputText, _name, _inspecting(_name))
for _name in ("lower", "upper", "capitalize", "title", "swapcase", "casefold"):
    setattr(InputText, _name, _changing_case(_name))
