"""Scope of stop strings in a chat's answer: what the caller reads as its content."""

from __future__ import annotations

from shared.chat.deltas import ContentDelta, Delta, DeltaParser, PlainParser, ToolCallDelta
from shared.chat.reasoning import ReasoningFormat, ReasoningParser


class AnswerScope:
    """A `StopScope` of the engine's: neither reasoning nor tool calls are looked at.

    Stop strings end the answer that the caller reads, as with OpenAI. Reasoning is in other words
    than the caller's, the blank lines behind it are nobody's, and so is the markup of calls.
    """

    def __init__(
        self, reasoning: ReasoningFormat | None, calls: DeltaParser | None, *, opened: bool
    ) -> None:
        """For one completion; ``opened``: the prompt began the block of reasoning.

        ``calls`` reads what follows the reasoning; None where no tools may be called.
        """
        self._beginning = None if reasoning is None else _Beginning(reasoning, opened=opened)
        self._end = None if calls is None else _End(calls)

    def add(self, text: str) -> tuple[str, str, str]:
        """What is certain after ``text``: before the answer, of it, and from its first call on."""
        before, answer = ("", text) if self._beginning is None else self._beginning.add(text)
        return (before, answer, "") if self._end is None else (before, *self._end.add(answer))

    def finish(self) -> tuple[str, str, str]:
        """The three parts of the rest, once no more text comes."""
        before, answer = ("", "") if self._beginning is None else self._beginning.finish()
        if self._end is None:
            return before, answer, ""
        content, call = self._end.add(answer)
        rest, begun = self._end.finish()
        return before, content + rest, call + begun


class _Beginning:
    """Where the answer begins: behind the reasoning."""

    def __init__(self, reasoning: ReasoningFormat, *, opened: bool) -> None:
        self._parser = ReasoningParser(reasoning, PlainParser(), opened=opened)
        self._is_decided = opened
        self._undecided = ""  # may be the beginning of the block or of the answer

    def add(self, text: str) -> tuple[str, str]:
        """The parts before and behind the answer's beginning in what is certain after ``text``."""
        if self._parser.is_transparent:
            return "", text
        return self._split(text, self._parser.add(text))

    def finish(self) -> tuple[str, str]:
        """Both parts of the rest, once no more text comes."""
        self._is_decided = True
        return self._split("", self._parser.finish())

    def _split(self, text: str, deltas: list[Delta]) -> tuple[str, str]:
        answer = "".join(delta.text for delta in deltas if isinstance(delta, ContentDelta))
        self._is_decided |= self._parser.in_reasoning or bool(answer)
        text = self._undecided + text
        if not self._is_decided:
            self._undecided = text
            return "", ""
        self._undecided = ""
        return text[: len(text) - len(answer)], answer


class _End:
    """Where the answer ends: at its first call, with the white space and markup before that.

    Up to there a parser's content is the text itself, piece by piece.
    """

    def __init__(self, parser: DeltaParser) -> None:
        self._parser = parser
        self._has_begun_call = False
        self._undecided: list[str] = []  # may be content or belong to a call

    def add(self, text: str) -> tuple[str, str]:
        """The parts before and behind the end in what is certain after ``text``."""
        if self._has_begun_call or not text:
            return "", text
        return self._split(text, self._parser.add(text))

    def finish(self) -> tuple[str, str]:
        """Both parts of the rest, once no more text comes."""
        return ("", "") if self._has_begun_call else self._split("", self._parser.finish())

    def _split(self, text: str, deltas: list[Delta]) -> tuple[str, str]:
        self._undecided.append(text)
        n_content = 0
        for delta in deltas:
            if isinstance(delta, ToolCallDelta):
                self._has_begun_call = True
                break
            n_content += len(delta.text)
        if not deltas:
            return "", ""
        text = "".join(self._undecided)
        content, rest = text[:n_content], text[n_content:]
        if self._has_begun_call:
            return content, rest
        self._undecided = [rest]
        return content, ""
