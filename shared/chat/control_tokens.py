"""Control tokens in prompts: those that the chat template writes, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from shared.chat.jinja.input_text import N_MARKABLE, as_input, mark_of, unmarked
from shared.engine.any_of import any_of

STEP = 2**16
"""Characters that are searched in one call."""

_APART = "\u200b"  # a zero-width space


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered conversation.

    ``parts`` is None where every control token in the text is the template's own. Otherwise it has
    the texts between those that are, as texts, and these as ids.
    """

    text: str
    parts: tuple[str | int, ...] | None = None


class ControlTokens:
    """The control tokens of a vocabulary, by what they read."""

    def __init__(self, ids: Mapping[str, int]) -> None:
        """``ids``: id by text; none, and any text may write them."""
        self.ids = ids

    def found(self, text: str) -> list[tuple[int, int]]:
        """Where a text has control tokens, of those that overlap the first one, or the longest.

        Beginnings and ends, which the garbage collector has no work with: of 50,000 matches it has
        50 ms of it, in which no other thread runs.
        """
        return [*self._spans(text)] if self.ids else []

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        """As `re.finditer`, in short steps: each call holds the interpreter until it has found one.

        A match that begins within a step ends before the next one's first ``_longest`` characters.
        """
        start = 0
        while start < len(text):
            border = start + STEP
            match = self._pattern.search(text, start, border + self._longest)
            if match is None or match.start() >= border:
                start = border
            else:
                yield match.span()
                start = match.end()

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.ids))

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(any_of(list(self.ids)))

    def prompt(self, rendered: str) -> Prompt:
        """What a template rendered, with marks in the texts that it was given, as a prompt."""
        text = unmarked(rendered)
        if text is rendered:
            return Prompt(text)
        written = self.found(rendered)
        if written == self.found(text):
            return Prompt(text)
        parts: list[str | int] = []
        end = 0
        for start, stop in written:
            parts += (text[end:start], self.ids[text[start:stop]])
            end = stop
        return Prompt(text, (*parts, text[end:]))

    def kept_apart(self, prompt: Prompt) -> str:
        """The prompt for somebody who reads control tokens in any text.

        In those that are not the template's a zero-width space stands behind the first character.
        """
        if prompt.parts is None:
            return prompt.text
        texts = {token: text for text, token in self.ids.items()}
        return "".join(
            texts[part]
            if isinstance(part, int)
            else self._pattern.sub(lambda found: found[0][0] + _APART + found[0][1:], part)
            for part in prompt.parts
        )


class InputMarks:
    """Marks in what a template is given, so that it can't spell control tokens.

    It is enough to mark one character of each. That is the first one, wherever it occurs: then
    texts may be joined, cut and searched as a template likes. Where a text of the template's own
    may be the beginning of a control token (``<`` before a name, say), it is also the first
    character of a text if the token could go on with it.
    """

    def __init__(self, control_tokens: Iterable[str], literals: Iterable[str]) -> None:
        """``literals``: the texts that the template itself has."""
        tokens = [text for text in control_tokens if text]
        firsts = {next(filter(_is_markable, text), "") for text in tokens} - {""}
        self._anywhere = {character: mark_of(character) for character in sorted(firsts)}
        self._at_start = frozenset(
            filter(_is_markable, _continuations(tokens, [text for text in literals if text]))
        )

    def mark(self, value: Any) -> Any:
        """``value``, as JSON has them, with marks in all its texts."""
        if isinstance(value, str):
            return self._marked(value)
        if isinstance(value, Mapping):
            return {self.mark(key): self.mark(item) for key, item in value.items()}
        return [*map(self.mark, value)] if isinstance(value, (list, tuple)) else value

    def _marked(self, text: str) -> str:
        for character, mark in self._anywhere.items():
            text = text.replace(character, mark)
        if text[:1] in self._at_start:
            text = mark_of(text[0]) + text[1:]
        return as_input(text)


def _is_markable(character: str) -> bool:
    return ord(character) < N_MARKABLE


def _continuations(tokens: list[str], literals: list[str]) -> set[str]:
    """What control tokens may go on with behind a literal that ends in the beginning of one.

    A literal within a token counts too: another one may have begun it.
    """
    longest = max(map(len, tokens), default=0)
    ends = {text[-size:] for text in literals for size in range(1, min(len(text), longest) + 1)}
    found = {text[i] for text in tokens for i in range(1, len(text)) if text[:i] in ends}
    joined = "\n".join([*tokens, ""])
    for literal in {text for text in literals if len(text) < longest and text in joined}:
        position = joined.find(literal)
        while position >= 0:
            found.add(joined[position + len(literal) : position + len(literal) + 1])
            position = joined.find(literal, position + 1)
    return found - {"", "\n"}
