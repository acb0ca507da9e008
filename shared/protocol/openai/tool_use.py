"""Tools of a request in one form: ``tools`` and ``functions``, which may or must be called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from shared.protocol.errors import APIError, invalid
from shared.protocol.openai.chat_completions import ChatCompletionRequest
from shared.protocol.openai.tool_choice import NamedFunction, NamedToolChoice

ToolObject = Mapping[str, Any]

_UNFORCED = (None, "none", "auto")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """The tools that the model is told of, and those that it may call.

    ``is_legacy``: the request speaks of functions, and so does the answer.
    """

    offered: tuple[ToolObject, ...]
    callable: tuple[ToolObject, ...]
    is_required: bool
    is_parallel: bool
    is_legacy: bool

    @property
    def is_constrained(self) -> bool:
        """Whether calls have to follow a grammar rather than be what the model makes of it."""
        return (
            self.is_required
            or not self.is_parallel
            or len(self.callable) < len(self.offered)
            or any(tool["function"].get("strict") for tool in self.callable)
        )

    def insists_on_arguments(self, position: int) -> bool:
        """Whether calls of this one of the ``callable`` tools have to follow its parameters."""
        return self.is_required or bool(self.callable[position]["function"].get("strict"))

    def with_any_arguments(self, positions: Iterable[int]) -> ToolUse:
        """The same, but these ``callable`` tools take any object."""
        changed = list(self.callable)
        for i in positions:
            function = {**changed[i]["function"], "parameters": {"type": "object"}}
            changed[i] = {**changed[i], "function": function}
        return replace(self, callable=tuple(changed))

    def param(self, position: int) -> str:
        """The request's field with the parameters of a ``callable`` tool."""
        i = self.offered.index(self.callable[position])
        return f"functions[{i}].parameters" if self.is_legacy else f"tools[{i}].function.parameters"


def tool_use(request: ChatCompletionRequest) -> ToolUse | None:
    """How tools are to be used, None for not at all; raises `APIError` 400."""
    choice = request.tool_choice
    if request.function_call not in _UNFORCED and not request.functions:
        raise _needs("function_call", "functions")
    if choice not in _UNFORCED and not request.tools:
        raise _needs("tool_choice", "tools")
    if request.functions is not None:
        return _legacy_use(request)
    if not request.tools:
        return None
    if choice == "none":
        return None
    offered = tuple(tool.model_dump(exclude_none=True) for tool in request.tools)
    names = choice.names if isinstance(choice, NamedToolChoice) else None
    return ToolUse(
        offered=offered,
        callable=_named(offered, names, "tool_choice"),
        is_required=choice.is_required
        if isinstance(choice, NamedToolChoice)
        else choice == "required",
        is_parallel=request.parallel_tool_calls is not False and not _is_one(choice),
        is_legacy=False,
    )


def _is_one(choice: object) -> bool:
    """Whether one function was named: that one is called, once."""
    return isinstance(choice, NamedToolChoice) and choice.type == "function"


def _legacy_use(request: ChatCompletionRequest) -> ToolUse | None:
    """``functions`` and ``function_call``: at most one call."""
    if request.tools:
        raise invalid("'functions' is the older form of 'tools': send one of them.", "functions")
    choice = request.function_call
    if not request.functions or choice == "none":
        return None
    offered = tuple(
        {"type": "function", "function": function.model_dump(exclude_none=True)}
        for function in request.functions
    )
    names = [choice.name] if isinstance(choice, NamedFunction) else None
    return ToolUse(
        offered=offered,
        callable=_named(offered, names, "function_call"),
        is_required=names is not None,
        is_parallel=False,
        is_legacy=True,
    )


def _named(
    offered: tuple[ToolObject, ...], names: list[str] | None, param: str
) -> tuple[ToolObject, ...]:
    """Those of the tools that a choice names; all of them when it names none."""
    if names is None:
        return offered
    known = {tool["function"]["name"] for tool in offered}
    for name in names:
        if name not in known:
            raise invalid(
                f"Invalid '{param}': there is no function '{name}' in the request.", param
            )
    return tuple(tool for tool in offered if tool["function"]["name"] in names)


def _needs(param: str, other: str) -> APIError:
    return invalid(f"'{param}' is only allowed when '{other}' is given.", param)
