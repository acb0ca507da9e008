"""What the many ways to ask for tools come down to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.protocol.errors import APIError
from shared.protocol.openai.chat_completions import ChatCompletionRequest
from shared.protocol.openai.tool_use import ToolUse, tool_use
from tests.server import CAPITAL

ALL = ("weather", "time", "search")
TOOLS = [{"type": "function", "function": {"name": name}} for name in ALL]
FUNCTIONS = [tool["function"] for tool in TOOLS]


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def allowed(mode: str, *names: str) -> dict[str, Any]:
    tools = {"mode": mode, "tools": [named(name) for name in names]}
    return {"type": "allowed_tools", "allowed_tools": tools}


def use_of(**fields: Any) -> ToolUse | None:
    body = {"messages": CAPITAL, **fields}
    return tool_use(ChatCompletionRequest.model_validate(body))


def names(tools: Any) -> tuple[str, ...]:
    return tuple(tool["function"]["name"] for tool in tools)


@pytest.mark.parametrize(
    ("fields", "callable", "is_required", "is_parallel", "is_constrained"),
    [
        ({}, ALL, False, True, False),
        ({"tool_choice": None}, ALL, False, True, False),
        ({"tool_choice": "auto"}, ALL, False, True, False),
        ({"tool_choice": "required"}, ALL, True, True, True),
        ({"tool_choice": "required", "parallel_tool_calls": False}, ALL, True, False, True),
        ({"parallel_tool_calls": False}, ALL, False, False, True),
        ({"parallel_tool_calls": True}, ALL, False, True, False),
        ({"tool_choice": named("time")}, ("time",), True, False, True),
        ({"tool_choice": named("time"), "parallel_tool_calls": True}, ("time",), True, False, True),
        ({"tool_choice": allowed("auto", "search", "time")}, ("time", "search"), False, True, True),
        ({"tool_choice": allowed("auto", *ALL)}, ALL, False, True, False),
        ({"tool_choice": allowed("required", "time")}, ("time",), True, True, True),
        ({"tool_choice": allowed("auto", "time", "time")}, ("time",), False, True, True),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_choices_say_what_may_and_what_must_be_called(
    fields: dict[str, Any],
    callable: tuple[str, ...],
    is_required: bool,
    is_parallel: bool,
    is_constrained: bool,
) -> None:
    use = use_of(tools=TOOLS, **fields)

    assert use is not None
    assert names(use.offered) == ALL, "the model is told of all of them"
    assert names(use.callable) == callable
    assert (use.is_required, use.is_parallel) == (is_required, is_parallel)
    assert use.is_constrained == is_constrained
    assert not use.is_legacy


def test_strict_arguments_have_to_follow_their_schema() -> None:
    strict = {"type": "function", "function": {"name": "x", "strict": True}}

    both = use_of(tools=[*TOOLS, strict])
    other = use_of(tools=[*TOOLS, strict], tool_choice=allowed("auto", "time"))
    lax = use_of(tools=[{"type": "function", "function": {"name": "x", "strict": False}}])

    assert both is not None
    assert both.is_constrained
    assert other is not None
    assert names(other.callable) == ("time",)
    assert lax is not None
    assert not lax.is_constrained


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tools": []},
        {"tools": None, "tool_choice": "none"},
        {"tools": [], "tool_choice": "auto"},
        {"tools": TOOLS, "tool_choice": "none"},
        {"functions": []},
        {"functions": FUNCTIONS, "function_call": "none"},
        {"function_call": "auto"},
    ],
    ids=json.dumps,
)
def test_there_may_be_none(fields: dict[str, Any]) -> None:
    assert use_of(**fields) is None


@pytest.mark.parametrize(
    ("choice", "callable", "is_required"),
    [
        (None, ALL, False),
        ("auto", ALL, False),
        ({"name": "time"}, ("time",), True),
    ],
)
def test_functions_are_called_one_at_a_time(
    choice: Any, callable: tuple[str, ...], is_required: bool
) -> None:
    use = use_of(functions=FUNCTIONS, function_call=choice)

    assert use is not None
    assert names(use.offered) == ALL
    assert names(use.callable) == callable
    assert (use.is_required, use.is_parallel, use.is_legacy) == (is_required, False, True)


def test_what_is_unknown_of_a_tool_reaches_the_template() -> None:
    use = use_of(tools=[{"type": "function", "function": {"name": "x", "a": 1}, "b": 2}])

    assert use is not None
    assert use.offered == ({"type": "function", "function": {"name": "x", "a": 1}, "b": 2},)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": TOOLS, "tool_choice": named("no")}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": allowed("auto", "time", "no")}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [], "tool_choice": named("time")}, "tool_choice"),
        ({"functions": FUNCTIONS, "tools": TOOLS}, "functions"),
        ({"functions": FUNCTIONS, "function_call": {"name": "no"}}, "function_call"),
        ({"function_call": {"name": "time"}}, "function_call"),
        ({"functions": [], "function_call": {"name": "time"}}, "function_call"),
        ({"functions": FUNCTIONS, "tool_choice": "required"}, "tool_choice"),
    ],
    ids=json.dumps,
)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(APIError) as caught:
        use_of(**fields)

    assert (caught.value.status, caught.value.param) == (400, param)
