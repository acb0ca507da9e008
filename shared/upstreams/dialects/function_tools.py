"""Tools of a request, and which of them to call, as APIs other than OpenAI's have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shared.protocol.errors import invalid

_ANY_OBJECT = {"type": "object", "properties": {}}


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A function; ``parameters`` is the JSON Schema of an object."""

    name: str
    description: str | None
    parameters: Mapping[str, Any]
    is_strict: bool


@dataclass(frozen=True, slots=True)
class ToolUsage:
    """The tools, and whether one has to be called: any of them, or the one of ``name``."""

    tools: Sequence[FunctionTool]
    mode: Literal["none", "auto", "required"]
    name: str | None
    is_parallel: bool
    """Whether several may be called at once."""


def tool_usage(fields: Mapping[str, Any]) -> ToolUsage | None:
    """``tools``, ``tool_choice`` and ``parallel_tool_calls``; None where there are no tools.

    Raises `APIError` 400 where the choice is of a tool that there is not.
    """
    tools = [_tool(tool["function"]) for tool in fields.get("tools") or ()]
    choice = fields.get("tool_choice") or "auto"
    if not tools:
        if choice not in ("none", "auto"):
            raise invalid("'tool_choice' needs 'tools'.", "tool_choice")
        return None
    is_parallel = fields.get("parallel_tool_calls") is not False
    if isinstance(choice, str):
        mode: Any = choice
        return ToolUsage(tools, mode, None, is_parallel)
    if choice["type"] == "function":
        (named,) = _named([choice], tools)
        return ToolUsage(tools, "required", named.name, is_parallel)
    allowed = choice["allowed_tools"]
    return ToolUsage(_named(allowed["tools"], tools), allowed["mode"], None, is_parallel)


def _tool(function: Mapping[str, Any]) -> FunctionTool:
    return FunctionTool(
        function["name"],
        function.get("description") or None,
        function.get("parameters") or _ANY_OBJECT,
        function.get("strict") is True,
    )


def _named(
    choices: Sequence[Mapping[str, Any]], tools: Sequence[FunctionTool]
) -> Sequence[FunctionTool]:
    """The tools that ``choices`` name, in the order of the tools."""
    names = {choice["function"]["name"] for choice in choices}
    missing = names - {tool.name for tool in tools}
    if missing:
        raise invalid(f"'tool_choice' names '{min(missing)}', which is no tool.", "tool_choice")
    return [tool for tool in tools if tool.name in names]
