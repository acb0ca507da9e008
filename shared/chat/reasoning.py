"""Reasoning: what a model writes between ``<think>`` and ``</think>`` before it answers."""

from __future__ import annotations

from dataclasses import dataclass

from shared.chat.cursor import Cursor, Step
from shared.chat.deltas import Delta, DeltaParser, PlainParser, ReasoningDelta


@dataclass(frozen=True, slots=True)
class ReasoningFormat:
    """The marks around a block of reasoning."""

    start: str
    end: str

    @classmethod
    def detect(cls, template_source: str) -> ReasoningFormat | None:
        """The format of the model with this chat template, None if it speaks of no reasoning.

        Templates name at least one of the marks: the end, to leave earlier reasoning out of the
        prompt, or the start, to have the model begin with it.
        """
        for known in _KNOWN:
            if known.start in template_source or known.end in template_source:
                return known
        return None

    @property
    def markers(self) -> tuple[str, str]:
        """What a parser has to see, though it may be control tokens in the vocabulary."""
        return self.start, self.end

    def is_opened_by(self, prompt: str) -> bool:
        """Whether ``prompt``, as rendered, ends in a block that the completion goes on with."""
        return prompt.rstrip().endswith(self.start)


_KNOWN = (ReasoningFormat("<think>", "</think>"), ReasoningFormat("[THINK]", "[/THINK]"))


class ReasoningParser:
    """Sets reasoning apart, and has another parser read the rest.

    Reasoning is a block at the completion's beginning. White space inside its marks and behind it
    belongs to neither. A block without an end is reasoning to the last.
    """

    def __init__(self, reasoning: ReasoningFormat, content: DeltaParser, *, opened: bool) -> None:
        """``content`` reads what is no reasoning; ``opened``: the prompt began the block."""
        self._format = reasoning
        self._content = content
        self._in_reasoning = opened
        self._is_past = False
        self._cursor = Cursor()
        self._deltas: list[Delta] = []
        self._space = ""  # at the end of the reasoning so far: its end may follow
        self._steps = self._message()

    @property
    def in_reasoning(self) -> bool:
        """Whether the text so far ends in reasoning.

        A token belongs to it, marks included, if this holds before or after the token's text.
        """
        return self._in_reasoning

    @property
    def is_transparent(self) -> bool:
        """Whether all that is still to come is content, as it comes: nobody has to look at it."""
        return self._is_past and isinstance(self._content, PlainParser)

    def add(self, text: str) -> list[Delta]:
        """What is certain after ``text``, the next piece."""
        self._cursor.add(text)
        return self._advance()

    def finish(self) -> list[Delta]:
        """The rest, once no more text comes."""
        self._cursor.end()
        return self._advance() + self._content.finish()

    def _advance(self) -> list[Delta]:
        next(self._steps, None)
        deltas, self._deltas = self._deltas, []
        return deltas

    def _message(self) -> Step[None]:
        cursor = self._cursor
        space = yield from cursor.space()
        starts = yield from cursor.literal(self._format.start)  # some models repeat the prompt's
        if starts or self._in_reasoning:
            self._in_reasoning = True
            yield from cursor.space()
            if (yield from cursor.text_before(self._format.end, self._reasoning)):
                self._in_reasoning = False
                yield from cursor.space()
            else:
                self._emit(self._space)
        else:
            self._deltas += self._content.add(space)
        while (yield from cursor.peek()):
            self._is_past = True
            self._deltas += self._content.add(cursor.take(len(cursor.text)))
            cursor.mark()

    def _reasoning(self, text: str) -> None:
        visible = text.rstrip()
        if visible:
            self._emit(self._space + visible)
            self._space = ""
        self._space += text[len(visible) :]

    def _emit(self, text: str) -> None:
        if text:
            self._deltas.append(ReasoningDelta(text))
