"""Whatever the server answers is accepted as an earlier turn: whole, cut anywhere, in any spelling."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from openai import OpenAI
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionMessage

from tests.api.test_tool_streams import REQUESTS
from tests.api.tools import TIME, WEATHER
from tests.server import CAPITAL, Server

CUTS = (1, 12, 80)
LIMITS: list[dict[str, Any]] = [
    *({"max_tokens": n_tokens} for n_tokens in CUTS),
    {"max_tokens": 80, "temperature": 1.8, "seed": 7},
    {"max_tokens": 80, "stop": ["a", "<", "{"]},
]


def answers(client: OpenAI, server: Server, fields: dict[str, Any]) -> Iterator[Any]:
    """The messages of a body and of a stream, as the openai client has them."""
    extra = {"extra_body": {name: fields[name] for name in fields.keys() - {"messages"}}}
    asked: dict[str, Any] = {"model": server.model, "messages": fields["messages"], **extra}
    body = client.chat.completions.create(**asked)
    yield from (choice.message for choice in body.choices)
    state: ChatCompletionStreamState[Any] = ChatCompletionStreamState()
    for chunk in client.chat.completions.create(**asked, stream=True):
        state.handle_chunk(chunk)
    yield from (choice.message for choice in state.current_completion_snapshot.choices)


def spellings(message: ChatCompletionMessage) -> Iterator[dict[str, Any]]:
    """A message as programs send it back."""
    yield message.model_dump()
    yield message.model_dump(exclude_none=True)
    yield {"role": "assistant", "content": message.content}
    yield {**message.model_dump(), "annotations": [], "audio": None, "tool_calls": []}


def results(message: dict[str, Any]) -> list[dict[str, Any]]:
    """What the tools that a message calls returned, which is nothing, and what was said of it."""
    said = {"role": "assistant", "content": ""}
    if call := message.get("function_call"):
        return [{"role": "function", "name": call["name"], "content": ""}, said]
    calls = message.get("tool_calls") or ()
    returned = [{"role": "tool", "tool_call_id": call["id"], "content": ""} for call in calls]
    return [*returned, said] if returned else []


def check(client: OpenAI, server: Server, fields: dict[str, Any]) -> None:
    """Ask, and ask again with every answer among the messages."""
    forms = {name: fields[name] for name in fields.keys() & {"tools", "functions"}}
    for message in answers(client, server, fields):
        for turn in spellings(message):
            history = [*fields["messages"], turn, *results(turn), *CAPITAL]
            again = server.post("/apply-template", {**forms, "messages": history})
            assert again.status_code == 200, (turn, again.text)
        history = [*fields["messages"], message, *results(message.model_dump()), *CAPITAL]
        client.chat.completions.create(model=server.model, messages=history, max_tokens=1)


@pytest.mark.sweep(1)
@pytest.mark.parametrize("limit", LIMITS, ids=str)
@pytest.mark.parametrize("request_name", REQUESTS)
def test_an_answer_may_be_sent_back(
    server: Server, client: OpenAI, request_name: str, limit: dict[str, Any]
) -> None:
    check(client, server, {"temperature": 0, **REQUESTS[request_name], **limit})


@pytest.mark.slow
@pytest.mark.sweep(4)
@pytest.mark.parametrize("n_tokens", [1, 4, 12, 24, 80])
@pytest.mark.parametrize(
    "family_server", ["qwen3", "llama3", "mistral", "gemma", "deepseek-r1", "phi"], indirect=True
)
def test_an_answer_in_any_familys_format_may_be_sent_back(
    family_server: Server, n_tokens: int
) -> None:
    client = family_server.openai()
    fields = {"messages": CAPITAL, "max_tokens": n_tokens, "seed": 3}
    tools = {"tools": [WEATHER, TIME], "tool_choice": "required"}

    check(client, family_server, fields)
    check(client, family_server, {**fields, **tools, "parallel_tool_calls": False})


@pytest.mark.slow
def test_a_call_of_no_tool_may_be_sent_back(server: Server) -> None:
    """A model may write any name."""
    for name in ("", "x" * 1000, "get weather", "<|im_end|>"):
        function = {"name": name, "arguments": "{}"}
        for turn in (
            {"tool_calls": [{"id": "", "type": "function", "function": function}]},
            {"function_call": function},
        ):
            message = {"role": "assistant", "content": None, **turn}
            history = [*CAPITAL, message, *results(message), *CAPITAL]
            response = server.chat(messages=history, max_tokens=1)
            assert response.status_code == 200, response.text
