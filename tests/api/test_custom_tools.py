"""Custom tools of the Responses API: plain text, a regex, a grammar in Lark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from openai import BadRequestError, OpenAI
from openai.types.responses import (
    ResponseCustomToolCall,
)

from tests.api.responses import QUESTION, WEATHER, ask, streamed
from tests.app_server import AppServer


@pytest.fixture
def client(server: AppServer) -> Iterator[OpenAI]:
    with server.openai() as client:
        yield client


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_custom_tool_takes_text(client: OpenAI, *, is_streamed: bool) -> None:
    fields: dict[str, Any] = {
        "tools": [{"type": "custom", "name": "run", "description": "Runs code."}],
        "tool_choice": {"type": "custom", "name": "run"},
        "max_output_tokens": 200,
        "extra_body": {"seed": 1},
    }
    answer = streamed(client, **fields)[1] if is_streamed else ask(client, **fields)
    (call,) = answer.output
    assert isinstance(call, ResponseCustomToolCall)
    assert call.name == "run"
    given: list[Any] = [
        {"role": "user", "content": QUESTION},
        call.to_dict(),
        {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "done"},
    ]
    assert ask(client, given, **{**fields, "tool_choice": "none"}).output


def test_a_custom_tools_input_follows_a_regex(client: OpenAI) -> None:
    """Also with quotes and backslashes, which its JSON has otherwise."""
    for pattern, inputs in (
        (r'cat "[ab]"\\', ('cat "a"\\', 'cat "b"\\')),
        ("yes|no", ("yes", "no")),
    ):
        form = {"type": "grammar", "syntax": "regex", "definition": pattern}
        (call,) = ask(
            client,
            tools=[{"type": "custom", "name": "run", "format": form}],
            tool_choice="required",
            parallel_tool_calls=False,
            max_output_tokens=60,
        ).output
        assert isinstance(call, ResponseCustomToolCall)
        assert call.input in inputs


@pytest.mark.parametrize("choice", ["required", "auto"])
@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_custom_tools_input_follows_lark(
    client: OpenAI, choice: str, *, is_streamed: bool
) -> None:
    definition = 'start: "cat \\"" NAME "\\"" LF\nNAME: "a" | "b"\n%import common.LF'
    form = {"type": "grammar", "syntax": "lark", "definition": definition}
    tool = {"type": "custom", "name": "run", "format": form}
    fields: dict[str, Any] = {
        "tools": [tool, WEATHER],
        "tool_choice": {"type": "custom", "name": "run"} if choice == "required" else choice,
        "parallel_tool_calls": False,
        "max_output_tokens": 100,
        "store": True,
    }
    answer = streamed(client, **fields)[1] if is_streamed else ask(client, **fields)
    if choice == "required":
        (call,) = answer.output
        assert isinstance(call, ResponseCustomToolCall)
        assert call.input in ('cat "a"\n', 'cat "b"\n')
    again = client.responses.retrieve(answer.id)
    assert [item.id for item in again.output] == [item.id for item in answer.output]
    assert again.tools[0].to_dict() == answer.tools[0].to_dict() == tool


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ("start: /a/i", "flags"),
        ("start: missing", "missing"),
        ("root: /a/", "start"),
        ('start: "a"\n%ignore " "', "%ignore"),
        ("start: (", "supported"),
    ],
)
def test_a_grammar_in_lark_that_is_wrong(client: OpenAI, definition: str, words: str) -> None:
    form = {"type": "grammar", "syntax": "lark", "definition": definition}
    with pytest.raises(BadRequestError) as refused:
        ask(client, tools=[WEATHER, {"type": "custom", "name": "run", "format": form}])
    assert refused.value.param == "tools[1].format"
    assert words in refused.value.message
    assert "grammar" in refused.value.message


@pytest.mark.parametrize(
    ("definition", "words"),
    [("ab\\", "backslash"), ("a)|(?:b", "unopened group"), ("(a", "unclosed group")],
)
def test_a_regex_that_is_wrong(client: OpenAI, definition: str, words: str) -> None:
    """Also where it would be right within a group."""
    form = {"type": "grammar", "syntax": "regex", "definition": definition}
    with pytest.raises(BadRequestError) as refused:
        ask(client, tools=[WEATHER, {"type": "custom", "name": "run", "format": form}])
    assert refused.value.param == "tools[1].format"
    assert words in refused.value.message


def test_a_stored_response_shows_custom_tools_as_sent(client: OpenAI) -> None:
    form = {"type": "grammar", "syntax": "regex", "definition": "yes|no"}
    tool: dict[str, Any] = {"type": "custom", "name": "run", "description": "x", "format": form}
    first = ask(
        client,
        tools=[tool, WEATHER],
        tool_choice={"type": "custom", "name": "run"},
        store=True,
        max_output_tokens=60,
        text={"format": {"type": "text"}, "verbosity": "low"},
    )
    again = client.responses.retrieve(first.id)
    assert again.output == first.output
    assert (again.tools, again.text) == (first.tools, first.text)
    assert again.tools[0].to_dict() == tool
    (call,) = first.output
    assert isinstance(call, ResponseCustomToolCall)
    given: Any = [
        {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "done"},
        {"role": "developer", "content": "Be brief."},
    ]
    second = ask(
        client, given, previous_response_id=first.id, tools=[tool], tool_choice="none", store=True
    )
    items = client.responses.input_items.list(second.id, order="asc").data
    assert [item.type for item in items] == [
        *("message", "custom_tool_call", "custom_tool_call_output", "message"),
    ]
    called: Any = items[1]
    assert (called.input, called.name) == (call.input, "run")
