"""Detokenizing and stop strings, piece by piece."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.engine.detokenizer import Detokenizer, StopStrings, Vocabulary


def bytes_vocabulary() -> Vocabulary:
    """256 tokens, each a byte."""
    return Vocabulary(lambda token, *, special: bytes([token]))


@given(st.text())
def test_byte_tokens_add_up_to_the_text(text: str) -> None:
    detokenizer = Detokenizer(bytes_vocabulary())

    pieces = [detokenizer.add(byte) for byte in text.encode()]

    assert "".join(pieces) + detokenizer.flush() == text
    assert "�" in text or all("�" not in piece for piece in pieces)


@given(st.binary())
def test_any_bytes_give_what_a_lenient_decoder_gives(data: bytes) -> None:
    detokenizer = Detokenizer(bytes_vocabulary())

    text = "".join(detokenizer.add(byte) for byte in data) + detokenizer.flush()

    assert text == data.decode("utf-8", "replace")


def test_a_character_appears_with_its_last_byte() -> None:
    detokenizer = Detokenizer(bytes_vocabulary())

    assert [detokenizer.add(byte) for byte in "é🔥a".encode()] == ["", "é", "", "", "", "🔥", "a"]


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_a_stop_string_is_found_however_the_text_is_split(size: int) -> None:
    text = "one two three STOP four"
    stops = StopStrings(["STOP"])

    shown = ""
    for start in range(0, len(text), size):
        shown += stops.add(text[start : start + size])
        if stops.found:
            break

    assert shown == "one two three "
    assert stops.found == "STOP"


def test_the_earliest_stop_string_wins() -> None:
    stops = StopStrings(["world", "o w"])

    assert stops.add("hello world") == "hell"
    assert stops.found == "o w"


def test_only_what_may_become_a_stop_string_is_held_back() -> None:
    stops = StopStrings(["END"])

    assert stops.add("the EN") == "the "
    assert stops.add("T") == "ENT"
    assert stops.add(" E") == " "
    assert stops.flush() == "E"


@given(
    st.text(alphabet="ab", max_size=30),
    st.lists(st.text(alphabet="ab", min_size=1, max_size=4), min_size=1, max_size=3),
    st.integers(min_value=1, max_value=5),
)
def test_splitting_never_changes_what_is_shown(text: str, strings: list[str], size: int) -> None:
    """Against a search in the whole text; the first stop string to be complete ends it."""
    stops = StopStrings(strings)
    shown = ""
    for start in range(0, len(text), size):
        shown += stops.add(text[start : start + size])
        if stops.found:
            break
    else:
        shown += stops.flush()

    assert text.startswith(shown)
    assert not any(string in shown for string in strings)
    if stops.found is None:
        assert shown == text


def test_a_text_that_is_held_back_is_not_searched_again_and_again() -> None:
    """Others' tokens wait meanwhile."""
    strings = ["a" * 1000 + "b", *(f"{i}c" * 500 for i in range(15))]

    def n_lines(n_tokens: int) -> int:
        stops = StopStrings(strings)
        with counted_lines() as lines:
            for _ in range(n_tokens):
                assert stops.add("a") == ""
        return len(lines)

    assert n_lines(800) < 9 * n_lines(100)


@contextmanager
def counted_lines() -> Iterator[list[int]]:
    """The lines that Python executes."""
    lines: list[int] = []

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
        if event == "line":
            lines.append(frame.f_lineno)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lines
    finally:
        sys.settrace(before)


CONTROL = 256


@given(st.lists(st.integers(0, CONTROL)))
def test_a_visible_control_token_appears_whatever_came_before(tokens: list[int]) -> None:
    vocabulary = Vocabulary(lambda token, *, special: _bytes_or_control(token, special))
    detokenizer = Detokenizer(vocabulary, frozenset({CONTROL}))

    text = "".join(map(detokenizer.add, tokens)) + detokenizer.flush()

    written = [_bytes_or_control(token, special=True) for token in tokens]
    assert text == b"".join(written).decode("utf-8", "replace")


def test_an_unfinished_character_ends_at_a_visible_control_token() -> None:
    vocabulary = Vocabulary(lambda token, *, special: _bytes_or_control(token, special))
    detokenizer = Detokenizer(vocabulary, frozenset({CONTROL}))

    tokens = (0xF0, 0x9F, CONTROL, CONTROL, 0x61, 0xC3, CONTROL, 0xA9)
    assert [detokenizer.add(token) for token in tokens] == [
        *("", "", "�</think>", "</think>", "a", "", "�</think>", "�"),
    ]


def test_an_invisible_control_token_is_nothing_within_a_character() -> None:
    vocabulary = Vocabulary(lambda token, *, special: _bytes_or_control(token, special))
    detokenizer = Detokenizer(vocabulary)

    assert [detokenizer.add(token) for token in (0xC3, CONTROL, 0xA9)] == ["", "", "é"]


def _bytes_or_control(token: int, special: bool) -> bytes:
    if token < CONTROL:
        return bytes([token])
    return b"</think>" if special else b""
