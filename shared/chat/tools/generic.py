"""Generic tool format, for models whose template knows no tools that are understood here.

The model is told in the system message what it may call, and that it does so with a JSON object.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from shared.chat.cursor import Step
from shared.chat.deltas import DeltaParser
from shared.chat.tools import lark
from shared.chat.tools.base import Message, Tool, ToolFormat, tool_names
from shared.chat.tools.parser import CallParser

_FENCE = "```"

_INSTRUCTIONS = """\
You can call tools. These are the tools, one on each line, with the JSON Schema of their arguments:

{tools}

If you need a tool, answer with nothing but this JSON object, filled in:
{{"name": "<name of the tool>", "arguments": {{<its arguments>}}}}
To call several tools, write one such object on each line. The next message has their results.
If you need no tool, answer as usual."""


class GenericFormat(ToolFormat):
    """``{"name": "f", "arguments": {...}}`` as the whole message, several one below the other.

    A fenced block of JSON is understood too, but not part of the grammar: there it is text.
    """

    name = "generic"

    def __init__(self, *, has_system_role: bool = True) -> None:
        """``has_system_role`` is False for templates that refuse a system message."""
        self._has_system_role = has_system_role

    def parser(self, tools: Sequence[Tool]) -> DeltaParser:
        """A parser for one completion by a model that was offered ``tools``."""
        return GenericParser(tools)

    def grammar(
        self,
        tools: Sequence[Tool],
        *,
        required: bool,
        parallel: bool,
        marker: Callable[[str], str],  # noqa: ARG002, there is none
    ) -> str:
        """A grammar for completions whose calls are all valid."""
        more = r'("\n" call)*' if parallel else ""
        if required:
            return f"start: call {more}\n" + lark.call_rules(tools, lark.json_call("arguments"))
        return (
            f"start: TEXT | SPACE call {more} | {_begun(parallel=parallel)}\n"
            f"TEXT: {lark.TEXT_WITHOUT_BRACE}\nSPACE: {lark.SPACE}\n"
            + _begun_rules(tools, lark.TEXT_WITHOUT_BRACE.strip("/"))
        )

    def lazy_grammar(
        self,
        tools: Sequence[Tool],
        *,
        parallel: bool,
        marker: Callable[[str], str],  # noqa: ARG002, there is none
    ) -> str:
        """A grammar that is followed from the name of one of ``tools`` on."""
        more = r'("\n" call)*' if parallel else ""
        return (
            f"start: TEXT | bare {more} | {_begun(parallel=parallel)}\nTEXT: {lark.TEXT}\n"
            + lark.begun_call("bare", lark.ANY_SPACE, tools)
            + _begun_rules(tools, lark.TEXT.strip("/"))
        )

    def prepare(
        self, messages: Sequence[Message], tools: Sequence[Tool] | None
    ) -> tuple[Sequence[Message], Sequence[Tool] | None]:
        """Messages that say everything about tools in words, and no tools.

        Calls become what the model would have written, and results a message of the user's, which
        the user's next message is joined to: templates may insist that roles alternate.
        """
        prepared: list[Message] = []
        names: dict[str, str] = {}
        answers_tools = False
        for message in messages:
            role, text = message["role"], _text(message.get("content"))
            if role == "tool":
                name = names.get(message.get("tool_call_id", ""), "the tool")
                text = f"Result of {name}:\n{text}"
            if role in ("tool", "user") and answers_tools:
                prepared[-1] = {"role": "user", "content": f"{prepared[-1]['content']}\n\n{text}"}
            elif role == "tool":
                prepared.append({"role": "user", "content": text})
            elif message.get("tool_calls"):
                calls = [call["function"] for call in message["tool_calls"]]
                names |= {
                    call["id"]: function["name"]
                    for call, function in zip(message["tool_calls"], calls, strict=True)
                }
                lines = [text] if text else []
                kept = {key: value for key, value in message.items() if key != "tool_calls"}
                prepared.append({**kept, "content": "\n".join([*lines, *map(_written, calls)])})
            else:
                prepared.append(message)
            answers_tools = role == "tool"
        return (self._with_instructions(prepared, tools) if tools else prepared), None

    def _with_instructions(
        self, messages: Sequence[Message], tools: Sequence[Tool]
    ) -> Sequence[Message]:
        """``messages`` with what the model has to know about ``tools``."""
        lines = (json.dumps(_description(tool), ensure_ascii=False) for tool in tools)
        instructions = _INSTRUCTIONS.format(tools="\n".join(lines))
        roles = ("system", "developer") if self._has_system_role else ("user",)
        if messages and messages[0]["role"] in roles:
            first, *rest = messages
            text = _text(first.get("content"))
            parts = [text, instructions] if self._has_system_role else [instructions, text]
            return [{**first, "content": "\n\n".join(part for part in parts if part)}, *rest]
        return [{"role": roles[0], "content": instructions}, *messages]


def _begun(*, parallel: bool) -> str:
    """Calls in a list or a fenced block: nobody asked for these, and `GenericParser` reads them."""
    more, more_listed = (r'("\n" call)*', '(", " call)*') if parallel else ("", "")
    return f'listed {more_listed} "]" | fenced {more} CLOSING'


def _begun_rules(tools: Sequence[Tool], text: str) -> str:
    """The rules for `_begun`; ``text`` is the regular expression of what comes before a fence."""
    return (
        f"CLOSING: /[ \\t\\r\\n]{{0,2}}{_FENCE}/\n"
        + lark.begun_call("listed", rf"{lark.ANY_SPACE}\[{lark.ANY_SPACE}", tools)
        + lark.begun_call("fenced", rf"{text}{_FENCE}(json)?{lark.ANY_SPACE}", tools)
        + lark.BEGUN_CALL_RULES
        + lark.call_rules(tools, lark.json_call("arguments"))
    )


class GenericParser(CallParser):
    """Reads calls at the beginning of a message, and in fenced blocks."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        """For a model that was offered ``tools``: other objects may be the answer itself."""
        super().__init__()
        self._names = tool_names(tools)

    def message(self) -> Step[None]:
        """Read the whole message."""
        yield from self.calls(self._names)
        while (yield from self.text_before(_FENCE)):
            yield from self._cursor.literal("json")
            if (yield from self.calls(self._names)):
                yield from self.closing(_FENCE)


def _text(content: object) -> str:
    """A message's content without its division into parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    return "".join(part.get("text", "") for part in content)


def _written(function: Message) -> str:
    """A call as the model would have written it; ``arguments`` may be JSON text or its meaning."""
    arguments = function["arguments"]
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    name = json.dumps(function["name"], ensure_ascii=False)
    return f'{{"name": {name}, "arguments": {arguments or "{}"}}}'


def _description(tool: Tool) -> dict[str, Any]:
    """What the model has to know about a tool."""
    function = tool["function"]
    keys = ("name", "description", "parameters")
    return {key: function[key] for key in keys if function.get(key)}
