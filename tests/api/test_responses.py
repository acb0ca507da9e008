"""OpenAI's Responses API, by its own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import BadRequestError, OpenAI
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseReasoningItem,
)
from pydantic import BaseModel

from tests.api.conftest import StartServer
from tests.api.responses import MODEL, QUESTION, WEATHER, ask, streamed
from tests.app_server import AppServer


@pytest.fixture
def client(server: AppServer) -> Iterator[OpenAI]:
    with server.openai() as client:
        yield client


def test_an_answer_is_the_one_of_a_chat_completion(client: OpenAI, server: AppServer) -> None:
    answer = ask(client, instructions="Be brief.")
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": QUESTION},
    ]
    same = server.chat(messages=messages, max_tokens=16, temperature=0).json()
    assert answer.output_text == same["choices"][0]["message"]["content"] != ""
    assert answer.status == "completed"
    assert answer.id.startswith("resp_")
    assert (answer.instructions, answer.max_output_tokens) == ("Be brief.", 16)
    assert answer.usage is not None
    assert answer.usage.input_tokens == same["usage"]["prompt_tokens"]
    assert answer.usage.output_tokens == same["usage"]["completion_tokens"]


@pytest.mark.slow
def test_a_streams_events_come_in_order_and_add_up(client: OpenAI) -> None:
    whole = ask(client)
    events, final = streamed(client)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    deltas = [kind for kind in kinds if kind == "response.output_text.delta"]
    assert kinds == [
        *("response.created", "response.in_progress"),
        *("response.output_item.added", "response.content_part.added"),
        *deltas,
        *("response.output_text.done", "response.content_part.done"),
        *("response.output_item.done", "response.completed"),
    ]
    assert final.output_text == whole.output_text
    assert final.usage == whole.usage or final.usage is not None
    (item,) = final.output
    assert isinstance(item, ResponseOutputMessage)
    assert item.status == "completed"


def test_an_answer_that_is_cut_off_is_incomplete(client: OpenAI) -> None:
    for answer in (ask(client, max_output_tokens=2), streamed(client, max_output_tokens=2)[1]):
        assert answer.status == "incomplete"
        assert answer.incomplete_details is not None
        assert answer.incomplete_details.reason == "max_output_tokens"
        assert answer.output[-1].status == "incomplete"  # type: ignore[union-attr]


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_tool_loop(client: OpenAI, *, is_streamed: bool) -> None:
    fields: dict[str, Any] = {
        "tools": [WEATHER],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "max_output_tokens": 60,
    }
    given: list[Any] = [{"role": "user", "content": QUESTION}]
    if is_streamed:
        events, called = streamed(client, given, **fields)
        kinds = {event.type for event in events}
        assert "response.function_call_arguments.delta" in kinds
        assert "response.function_call_arguments.done" in kinds
    else:
        called = ask(client, given, **fields)
    (call,) = called.output
    assert isinstance(call, ResponseFunctionToolCall)
    assert (call.name, call.status) == ("get_weather", "completed")
    assert json.loads(call.arguments)["city"] in ("Paris", "Rome")
    given += [
        *(item.to_dict() for item in called.output),
        {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny."},
    ]
    answer = ask(client, given, tools=[WEATHER], tool_choice="none")
    assert answer.status in ("completed", "incomplete")


def test_answers_are_parsed(client: OpenAI) -> None:
    class City(BaseModel):
        name: str

    answer = client.responses.parse(
        model=MODEL, input=QUESTION, text_format=City, max_output_tokens=200, temperature=0
    )
    if answer.status == "completed":
        assert isinstance(answer.output_parsed, City)
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    }
    text: Any = {"format": {"type": "json_schema", "name": "city", "schema": schema}}
    assert json.loads(ask(client, text=text, max_output_tokens=40).output_text)["city"]


def test_log_probabilities_are_included(client: OpenAI) -> None:
    fields: dict[str, Any] = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    for answer in (ask(client, **fields), streamed(client, **fields)[1]):
        (item,) = answer.output
        assert isinstance(item, ResponseOutputMessage)
        (part,) = item.content
        assert part.type == "output_text"
        assert part.logprobs
        assert "".join(entry.token for entry in part.logprobs) == part.text
        assert len(part.logprobs[0].top_logprobs) == 2


def test_calls_are_answered_beside_log_probabilities(client: OpenAI) -> None:
    fields: dict[str, Any] = {
        "tools": [WEATHER],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "max_output_tokens": 60,
        "include": ["message.output_text.logprobs"],
    }
    whole = ask(client, **fields)
    events, final = streamed(client, **fields)
    assert "error" not in [event.type for event in events]
    for answer in (whole, final):
        (call,) = answer.output
        assert isinstance(call, ResponseFunctionToolCall)
        assert json.loads(call.arguments)["city"] in ("Paris", "Rome")


def test_log_probabilities_behind_reasoning_are_those_of_the_text(client: OpenAI) -> None:
    fields: dict[str, Any] = {
        "include": ["message.output_text.logprobs"],
        "max_output_tokens": 60,
        "extra_body": {"chat_template_kwargs": {"enable_thinking": True}},
    }
    for answer in (ask(client, **fields), streamed(client, **fields)[1]):
        thought, said = answer.output
        assert isinstance(thought, ResponseReasoningItem)
        assert isinstance(said, ResponseOutputMessage)
        (part,) = said.content
        assert part.type == "output_text"
        assert part.logprobs
        assert "".join(entry.token for entry in part.logprobs) == part.text


@pytest.mark.slow
@pytest.mark.parametrize("include", [[], ["message.output_text.logprobs"]])
def test_reasoning_that_is_cut_off_is_the_only_item(
    start_server: StartServer, tmp_path: Path, include: list[str]
) -> None:
    file = tmp_path / "template.jinja"
    file.write_text("{{ messages[0].content }}<think>", encoding="utf-8")
    server = start_server("--model", "builtin", "--chat-template-file", str(file))
    with server.openai() as client:
        fields: dict[str, Any] = {"max_output_tokens": 3, "include": include}
        for answer in (ask(client, **fields), streamed(client, **fields)[1]):
            (thought,) = answer.output
            assert isinstance(thought, ResponseReasoningItem)
            assert answer.status == "incomplete"


@pytest.mark.slow
def test_reasoning_is_an_item(start_server: StartServer, tmp_path: Path) -> None:
    file = tmp_path / "template.jinja"
    file.write_text(
        "{% for m in messages %}{{ m.content }}{{ m.reasoning_content or '' }}{% endfor %}<think>",
        encoding="utf-8",
    )
    server = start_server("--model", "builtin", "--chat-template-file", str(file))
    fields: dict[str, Any] = {
        "max_output_tokens": 60,
        "extra_body": {"regex": "Paris"},
    }
    with server.openai() as client:
        for answer in (ask(client, **fields), streamed(client, **fields)[1]):
            thought, said = answer.output
            assert isinstance(thought, ResponseReasoningItem)
            assert isinstance(said, ResponseOutputMessage)
            assert thought.content is not None
            assert thought.content[0].text
            assert said.content[0].text == "Paris"  # type: ignore[union-attr]
        given: list[Any] = [
            {"role": "user", "content": QUESTION},
            thought.to_dict(),
            said.to_dict(),
        ]
        counted = client.responses.input_tokens.count(model=MODEL, input=given)
        fewer = client.responses.input_tokens.count(model=MODEL, input=[given[0], given[2]])
        assert counted.input_tokens > fewer.input_tokens


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"truncation": "auto"}, "truncation"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"input": [{"type": "computer_call_output", "call_id": "1"}]}, "input[0]"),
        ({"input": []}, "input"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"previous_response_id": "chatcmpl-1"}, "previous_response_id"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "name": "x"}}, "tool_choice"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input[0].content[0].file_id",
        ),
    ],
)
def test_what_is_not_supported_is_refused(
    client: OpenAI, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(BadRequestError) as refused:
        ask(client, **fields)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("given", "code"), [([], "invalid_value"), (None, "missing_required_parameter")]
)
def test_an_empty_input_is_told_from_none(client: OpenAI, given: Any, code: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        ask(client, given)
    assert (refused.value.param, refused.value.code) == ("input", code)
