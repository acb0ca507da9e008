"""Mistral tool format: ``[TOOL_CALLS]`` and a list of calls, or in newer models a call."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from shared.chat.cursor import Step
from shared.chat.deltas import DeltaParser
from shared.chat.tools import json_text, lark
from shared.chat.tools.base import Message, Tool, ToolFormat
from shared.chat.tools.history import nine_character_ids
from shared.chat.tools.parser import CallParser

_CALLS = "[TOOL_CALLS]"
_ID = "[CALL_ID]"
_ARGUMENTS = "[ARGS]"
_ID_RULE = "ID: /[a-zA-Z0-9]{9}/\n"


class _MistralFormat(ToolFormat):
    """What both have in common. The templates refuse ids that are not nine letters and digits."""

    name = "mistral"
    call_id_prefix = ""
    call_id_length = 9

    def parser(self, tools: Sequence[Tool]) -> DeltaParser:  # noqa: ARG002, the marker says enough
        """A parser for one completion, in either way of writing."""
        return MistralParser()

    def prepare(
        self, messages: Sequence[Message], tools: Sequence[Tool] | None
    ) -> tuple[Sequence[Message], Sequence[Tool] | None]:
        """Messages whose ids the templates take."""
        return nine_character_ids(messages), tools


class MistralListFormat(_MistralFormat):
    """``[TOOL_CALLS][{"name": "f", "arguments": {...}}, ...]``, where calls may have an ``id``."""

    markers = (_CALLS,)

    def grammar(
        self,
        tools: Sequence[Tool],
        *,
        required: bool,
        parallel: bool,
        marker: Callable[[str], str],
    ) -> str:
        """A grammar for completions whose calls are all valid."""
        opening = marker(_CALLS)
        closing = r'(", \"id\": \"" ID "\"")? "}"'
        # Some vocabularies have a space in the token of the bracket.
        calls = '" "? "[" call (", " call)* "]"' if parallel else '" "? "[" call "]"'
        return (
            (
                f"start: {opening} {calls}\n"
                if required
                else f"start: TEXT | announced {calls}\n{lark.text_before(opening)}"
            )
            + lark.call_rules(tools, lark.json_call("arguments", closing))
            + _ID_RULE
        )


class MistralNameFormat(_MistralFormat):
    """``[TOOL_CALLS]f[ARGS]{...}``, each call with its own marker; some with ``[CALL_ID]`` and id.

    The models' ids are not used: `call_id` makes them.
    """

    def __init__(self, *, has_ids: bool) -> None:
        """``has_ids``: whether the template writes ids between name and arguments."""
        self._has_ids = has_ids
        self.markers = (_CALLS, _ID, _ARGUMENTS) if has_ids else (_CALLS, _ARGUMENTS)

    def grammar(
        self,
        tools: Sequence[Tool],
        *,
        required: bool,
        parallel: bool,
        marker: Callable[[str], str],
    ) -> str:
        """A grammar for completions whose calls are all valid."""
        opening = marker(_CALLS)
        call_id = f"({marker(_ID)} ID)? " if self._has_ids else ""
        calls = f"call ({opening} call)*" if parallel else "call"
        return (
            (
                f"start: {opening} {calls}\n"
                if required
                else f"start: TEXT | announced {calls}\n{lark.text_before(opening)}"
            )
            + lark.call_rules(
                tools,
                lambda name, arguments: (
                    f"{lark.quoted(name)} {call_id}{marker(_ARGUMENTS)} {arguments}"
                ),
            )
            + (_ID_RULE if self._has_ids else "")
        )


class MistralParser(CallParser):
    """Reads calls behind markers in text."""

    def message(self) -> Step[None]:
        """Read the whole message."""
        while (yield from self.text_before(_CALLS)):
            yield from self._cursor.space()
            if (yield from self._cursor.peek()) in ("{", "["):
                yield from self.calls()
            else:
                yield from self._named_call()

    def _named_call(self) -> Step[None]:
        """Read ``name[ARGS]{...}``; anything else is content."""
        cursor = self._cursor
        name = yield from cursor.run(_WORD)
        if name and (yield from cursor.literal(_ID)):
            yield from cursor.run(_WORD)
        is_marked = bool(name) and (yield from cursor.literal(_ARGUMENTS))
        yield from cursor.space()
        # Where the marker is missing the brace shows as well that the name is over.
        begins = yield from cursor.peek()
        if name and (begins == "{" or (is_marked and (begins == '"' or cursor.at_end))):
            self.begin_call(name)
            yield from json_text.arguments(cursor, self.arguments)
            cursor.mark()
        else:
            self.take_back()


_WORD = re.compile(r"[\w.-]*")
