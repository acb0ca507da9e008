"""Hermes tool format, also of Qwen: JSON between ``<tool_call>`` and ``</tool_call>``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shared.chat.cursor import Step
from shared.chat.deltas import DeltaParser
from shared.chat.tools import lark
from shared.chat.tools.base import Tool, ToolFormat
from shared.chat.tools.parser import CallParser

_OPENING = "<tool_call>"
_CLOSING = "</tool_call>"


class HermesFormat(ToolFormat):
    r"""``<tool_call>\n{"name": "f", "arguments": {...}}\n</tool_call>``, a block for each call."""

    name = "hermes"
    markers = (_OPENING, _CLOSING)

    def parser(self, tools: Sequence[Tool]) -> DeltaParser:  # noqa: ARG002, the marker says enough
        """A parser for one completion."""
        return HermesParser()

    def grammar(
        self,
        tools: Sequence[Tool],
        *,
        required: bool,
        parallel: bool,
        marker: Callable[[str], str],
    ) -> str:
        """A grammar for completions whose calls are all valid."""
        opening, closing = marker(_OPENING), marker(_CLOSING)
        # Where the marker is several tokens, the last one may have some of the white space in it.
        space = '"\\n"' if required else "SPACE"
        block = f"{space} call {space} {closing}"
        calls = rf'{block} ("\n" {opening} {block})*' if parallel else block
        return (
            f"start: {opening} {calls}\n"
            if required
            else f"start: TEXT | announced {calls}\nSPACE: /[ \\t\\r\\n]{{0,2}}/\n"
            + lark.text_before(opening)
        ) + lark.call_rules(tools, lark.json_call("arguments"))


class HermesParser(CallParser):
    """Reads blocks of calls in text."""

    def message(self) -> Step[None]:
        """Read the whole message."""
        while (yield from self.text_before(_OPENING)):
            if (yield from self.calls()):
                yield from self.closing(_CLOSING)
