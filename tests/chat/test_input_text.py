"""Texts with marks: they are searched and cut as if the marks were what they stand for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup, escape

from shared.chat.jinja.input_text import InputText, as_input, mark_of, unmarked

_TEXTS = st.text("<[ab|\n ǅß'\"&\\", max_size=12)


def marked(text: str, characters: str = "<[b") -> str:
    """``text`` with marks for ``characters``."""
    return as_input("".join(mark_of(c) if c in characters else c for c in text))


def plain(value: Any) -> Any:
    """Texts without marks, in whatever they are in."""
    if isinstance(value, str):
        return unmarked(value)
    return type(value)(map(plain, value)) if isinstance(value, (list, tuple)) else value


def all_marked(value: Any) -> bool:
    """Whether texts have marks where they should, and are of the right type."""
    if isinstance(value, str):
        is_marked = not any(character in "<[b" for character in str.__str__(value))
        return is_marked and isinstance(value, InputText) == (unmarked(value) is not value)
    return all(map(all_marked, value)) if isinstance(value, (list, tuple)) else True


OPERATIONS: dict[str, Any] = {
    **{
        name: lambda text, part, name=name: getattr(text, name)(part)
        for name in (
            "startswith",
            "endswith",
            "find",
            "rfind",
            "count",
            "strip",
            "lstrip",
            "rstrip",
        )
    },
    **{
        name: lambda text, part, name=name: getattr(text, name)(part)
        for name in ("removeprefix", "removesuffix", "split", "rsplit", "partition", "rpartition")
    },
    **{
        name: lambda text, _part, name=name: getattr(text, name)()
        for name in ("strip", "split", "rsplit", "splitlines", "isspace", "isalnum", "isascii")
    },
    "split once": lambda text, part: text.split(part, 1),
    "rsplit once": lambda text, part: text.rsplit(part, 1),
    "split spaces once": lambda text, _part: text.split(None, 1),
    "lines with ends": lambda text, _part: text.splitlines(True),
    "starts with one of": lambda text, part: text.startswith((part, "a")),
    "in": lambda text, part: part in text,
    "equal": lambda text, part: (text == part, part == text, text != part, part != text),
    "order": lambda text, part: (text < part, text <= part, text > part, text >= part),
    "hash": lambda text, part: {text: 1}.get(part),
    "sum": lambda text, part: (text + part, part + text),
    "times": lambda text, _part: (text * 2, 2 * text),
    "pieces": lambda text, _part: (text[:1], text[1:], text[::-1], text[::2]),
    "characters": lambda text, _part: list(text),
    "length": lambda text, _part: len(text),
    "str": lambda text, _part: str(text),
    "repr": lambda text, _part: repr(text),
    "repr of a tuple": lambda text, _part: as_input(repr((text,))),
    "escape": lambda text, _part: as_input(str(escape(text))),
    "HTML": lambda text, _part: as_input(str(Markup("&") + text)),
    "sum with HTML": lambda text, _part: as_input(str(text + Markup("&"))),
    "replace": lambda text, part: text.replace(part, "a"),
    "replace with": lambda text, part: text.replace("a", part),
    "replace once": lambda text, part: text.replace(part, "|", 1),
}
_FAILS = object()


def done(operation: Any, text: str, part: str) -> Any:
    """What an operation gives; no separator can be empty."""
    try:
        return operation(text, part)
    except ValueError:
        return _FAILS


@pytest.mark.sweep(4)
@pytest.mark.parametrize("name", OPERATIONS)
@given(text=_TEXTS, part=st.one_of(_TEXTS, st.sampled_from("<[ab|")))
def test_an_operation_gives_the_same_with_marks(name: str, text: str, part: str) -> None:
    operation = OPERATIONS[name]
    expected = done(operation, text, part)

    for other in (part, marked(part)):
        given = done(operation, marked(text), other)
        assert plain(given) == expected
        if isinstance(marked(text), InputText) and str.__eq__(other, marked(part)):
            assert all_marked(given)


@pytest.mark.parametrize("name", ["upper", "lower", "title", "capitalize", "swapcase", "casefold"])
@given(text=_TEXTS)
def test_case_changes_and_marks_stay(name: str, text: str) -> None:
    changed = getattr(marked(text, "<["), name)()

    if len(getattr(text, name)()) == len(text):
        assert plain(changed) == getattr(text, name)()
    assert not {"<", "["} & set(str.__str__(changed))


@given(text=_TEXTS)
def test_json_keeps_marks(text: str) -> None:
    written = json.dumps({marked(text): [marked(text)]}, ensure_ascii=False)

    assert unmarked(written) == json.dumps({text: [text]}, ensure_ascii=False)
    assert "<" not in written


def test_a_text_without_marks_stays_what_it_is() -> None:
    for text in ("", "a", "é", "🔥"):
        assert as_input(text) is text
        assert unmarked(text) is text
