"""Deltas of an answer: content, reasoning and tool calls, piece by piece."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ContentDelta:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of what the model thought before it answered."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call.

    ``index`` counts the message's calls from 0. The first delta of a call, and only that one, has
    its ``name``. The ``arguments`` of all its deltas together are JSON text as the model wrote it.
    """

    index: int
    name: str | None = None
    arguments: str = ""


Delta = ContentDelta | ReasoningDelta | ToolCallDelta


class DeltaParser(Protocol):
    """Takes a completion apart while it is generated.

    How the text is split into pieces has no influence on the deltas, apart from where they are cut.
    """

    def add(self, text: str) -> list[Delta]:
        """What is certain after ``text``, the next piece."""

    def finish(self) -> list[Delta]:
        """The rest, once no more text comes. Nothing that was generated is lost."""


class PlainParser:
    """For answers without calls and reasoning: everything is content."""

    def add(self, text: str) -> list[Delta]:
        """``text`` itself."""
        return [ContentDelta(text)] if text else []

    def finish(self) -> list[Delta]:
        """Nothing: no text is ever held back."""
        return []
