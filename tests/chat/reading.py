"""Reads a completion with a parser, split in every way that a server may see it."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from shared.chat.deltas import (
    ContentDelta,
    Delta,
    DeltaParser,
    ReasoningDelta,
    ToolCallDelta,
)
from shared.chat.tools.base import ToolFormat

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "maxLength": 8},
                "days": {"type": "integer", "minimum": 1, "maximum": 14},
            },
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
TIME = {"type": "function", "function": {"name": "get_time", "description": "The time of day"}}
ALARM = {
    "type": "function",
    "function": {
        "name": "get",
        "parameters": {
            "type": "object",
            "properties": {
                "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2},
                "at": {"$ref": "#/$defs/at"},
            },
            "required": ["at"],
            "additionalProperties": False,
            "$defs": {
                "at": {
                    "type": "object",
                    "properties": {"hour": {"type": "integer", "minimum": 0, "maximum": 23}},
                    "required": ["hour"],
                    "additionalProperties": False,
                }
            },
        },
    },
}
TOOLS: Sequence[dict[str, Any]] = (WEATHER, TIME, ALARM)


def content(text: str) -> ContentDelta:
    """What is expected of text."""
    return ContentDelta(text)


def reasoning(text: str) -> ReasoningDelta:
    """What is expected of reasoning."""
    return ReasoningDelta(text)


def call(name: str, arguments: str, index: int = 0) -> ToolCallDelta:
    """What is expected of a call."""
    return ToolCallDelta(index, name, arguments)


def read(make_parser: Callable[[], DeltaParser], text: str) -> list[Delta]:
    """The deltas of ``text``, joined; the same for every way to split it."""
    whole = joined(make_parser(), [text])
    for pieces in _splits(text):
        assert joined(make_parser(), pieces) == whole, pieces
    return whole


def read_calls(tool_format: ToolFormat, text: str) -> list[Delta]:
    """`read` with a format's parser, for a model that knows `TOOLS`."""
    return read(lambda: tool_format.parser(TOOLS), text)


def joined(parser: DeltaParser, pieces: Iterable[str]) -> list[Delta]:
    """The deltas of ``pieces`` with neighbours of a kind as one; calls begin with their name."""
    deltas: list[Delta] = []
    for delta in _deltas(parser, pieces):
        last = deltas[-1] if deltas else None
        if isinstance(delta, ToolCallDelta):
            if delta.name is None:
                assert isinstance(last, ToolCallDelta)
                assert last.index == delta.index
                deltas[-1] = ToolCallDelta(last.index, last.name, last.arguments + delta.arguments)
                continue
        elif last is not None and type(last) is type(delta):
            deltas[-1] = type(delta)(last.text + delta.text)
            continue
        deltas.append(delta)
    return deltas


def _deltas(parser: DeltaParser, pieces: Iterable[str]) -> Iterator[Delta]:
    for piece in pieces:
        yield from parser.add(piece)
    yield from parser.finish()
    assert parser.finish() == []


def _splits(text: str) -> Iterator[list[str]]:
    for position in range(len(text) + 1):
        yield [text[:position], text[position:]]
    for size in (1, 2, 3, 7):
        yield [text[start : start + size] for start in range(0, len(text), size)]
    decoder = codecs.getincrementaldecoder("utf-8")()
    yield [decoder.decode(bytes([byte])) for byte in text.encode()]
