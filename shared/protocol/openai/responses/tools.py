"""Tools of the Responses API as chat completions' functions, and back.

A custom tool is a function of one text. Its schema has a title that it is known by, so that what is
stored as a chat completion is shown as it was sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from shared.chat.custom_tool import INPUT, LARK, TITLE, custom_parameters, lark_of
from shared.json_schema.patterns import why_no_part
from shared.protocol.errors import invalid
from shared.protocol.openai.responses.requests import (
    HostedTool,
    NamedTool,
    NamespaceTool,
    OwnTool,
)
from shared.protocol.translated_request import Origin

_PATTERN_HEAD, _PATTERN_TAIL = "^(?:", ")$"


@dataclass(frozen=True, slots=True)
class Called:
    """The tool that a call is of."""

    name: str
    namespace: str | None = None
    is_custom: bool = False


@dataclass(slots=True)
class Tools:
    """A request's tools.

    - ``functions``: of the chat completion.
    - ``called``: by the functions' names.
    - ``origins``: where each function comes from.
    - ``dropped``: where there are tools that have no effect.
    - ``in_lark``: where functions have grammars in Lark.
    """

    functions: list[dict[str, Any]] = field(default_factory=list)
    called: dict[str, Called] = field(default_factory=dict)
    origins: list[Origin] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    in_lark: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, tools: Sequence[OwnTool | NamespaceTool | HostedTool] | None) -> Tools:
        """From a request's; raises `APIError` 400.

        Those that OpenAI runs are left out, as clients add them to theirs unasked; where there are
        no others, the request is about them, and refused.
        """
        found = cls()
        for i, tool in enumerate(tools or ()):
            where = f"tools[{i}]"
            if isinstance(tool, HostedTool):
                found.dropped.append(where)
            elif isinstance(tool, OwnTool):
                found._add(tool, None, where)
            else:
                for k, inner in enumerate(tool.tools):
                    found._add(inner, tool.name, f"{where}.tools[{k}]")
        if found.dropped and not found.functions and tools is not None:
            first = next(tool for tool in tools if isinstance(tool, HostedTool))
            raise invalid(
                f"Invalid '{found.dropped[0]}': tools of type '{first.type[:64]}' are not "
                "supported: nothing is run here. Those of type 'function' and 'custom' are.",
                found.dropped[0],
                "unsupported_value",
            )
        return found

    def _add(self, tool: OwnTool, namespace: str | None, where: str) -> None:
        name = tool.name
        if namespace is not None and name in self.called:
            name = f"{namespace}__{name}"
        self.called[name] = Called(tool.name, namespace, tool.type == "custom")
        is_custom = tool.type == "custom"
        function = _custom_function(tool, f"{where}.format") if is_custom else _function(tool)
        if lark_of(function) is not None:
            self.in_lark.append(f"tools[{len(self.functions)}].function.parameters")
        self.functions.append({"type": "function", "function": {**function, "name": name}})
        origin = {"": where, ".function": where}
        if tool.type == "custom":
            origin[".function.parameters"] = f"{where}.format"
        self.origins.append(origin)

    def function_name(self, name: str, namespace: str | None) -> str:
        """The function that stands for a tool."""
        joined = f"{namespace}__{name}"
        return joined if namespace is not None and joined in self.called else name


def stored_tools(functions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A stored chat completion's functions, as they were sent."""
    return [_sent(tool["function"]) for tool in functions]


def _sent(function: Mapping[str, Any]) -> dict[str, Any]:
    parameters = function.get("parameters") or {}
    if parameters.get("title") != TITLE:
        return {"type": "function", **function}
    tool = {name: function[name] for name in ("name", "description") if function.get(name)}
    if (definition := lark_of(function)) is not None:
        tool["format"] = {"type": "grammar", "syntax": "lark", "definition": definition}
    pattern = parameters["properties"][INPUT].get("pattern")
    if pattern is not None:
        definition = pattern[len(_PATTERN_HEAD) : -len(_PATTERN_TAIL)]
        tool["format"] = {"type": "grammar", "syntax": "regex", "definition": definition}
    return {"type": "custom", **tool}


def tool_choice(choice: str | NamedTool | None) -> Any:
    """A chat completion's; raises `APIError` 400."""
    if not isinstance(choice, NamedTool):
        return choice
    if choice.type == "allowed_tools":
        named = list(_allowed(choice))
        allowed = {"mode": choice.mode or "auto", "tools": named}
        return {"type": "allowed_tools", "allowed_tools": allowed}
    return _named(choice, "tool_choice")


def _allowed(choice: NamedTool) -> Iterator[dict[str, Any]]:
    for i, tool in enumerate(choice.tools or ()):
        if tool.type in ("function", "custom"):
            yield _named(tool, f"tool_choice.tools[{i}]")


def _named(tool: NamedTool, where: str) -> dict[str, Any]:
    if tool.name is None:
        param = f"{where}.name"
        raise invalid(f"Missing required field: '{param}'.", param, "missing_required_parameter")
    return {"type": "function", "function": {"name": tool.name}}


def _function(tool: OwnTool) -> dict[str, Any]:
    function = {
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": tool.strict,
    }
    return {name: value for name, value in function.items() if value is not None}


def _custom_function(tool: OwnTool, where: str) -> dict[str, Any]:
    """``where``: its format's place in the request. Raises `APIError` 400."""
    function: dict[str, Any] = {}
    if tool.description is not None:
        function["description"] = tool.description
    text = {"type": "string"}
    form = tool.format
    if form is not None and form.definition is not None:
        function["strict"] = True
        if form.syntax == "lark":
            text[LARK] = form.definition
        else:
            if (reason := why_no_part(form.definition)) is not None:
                raise invalid(
                    f"Invalid '{where}': the regular expression is not supported: {reason}.",
                    where,
                    "unsupported_grammar",
                )
            text["pattern"] = f"{_PATTERN_HEAD}{form.definition}{_PATTERN_TAIL}"
    function["parameters"] = custom_parameters(text)
    return function


def custom_arguments(text: str) -> str:
    """The function's arguments that stand for a custom tool's input."""
    return orjson.dumps({INPUT: text}).decode()


def custom_input(arguments: str) -> str:
    """The text that a custom tool is called with; what was cut off stays as it was written."""
    try:
        found = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    text = found.get(INPUT) if isinstance(found, dict) else None
    return text if isinstance(text, str) else arguments
