"""OpenAI's Responses API, by its own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from openai.types.responses import (
    Response,
    ResponseCustomToolCall,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseReasoningItem,
)
from pydantic import BaseModel

from tests.api.conftest import StartServer
from tests.app_server import AppServer

MODEL = "pilotlight-builtin"
QUESTION = "What is the capital of France?"
WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


@pytest.fixture
def client(server: AppServer) -> Iterator[OpenAI]:
    with server.openai() as client:
        yield client


def ask(client: OpenAI, given: Any = QUESTION, **fields: Any) -> Response:
    defaults = {"model": MODEL, "temperature": 0, "max_output_tokens": 16}
    answer = client.responses.create(**{**defaults, "input": given, **fields})
    assert isinstance(answer, Response)
    return answer


def streamed(client: OpenAI, given: Any = QUESTION, **fields: Any) -> tuple[list[Any], Response]:
    """The events, and the response that they add up to."""
    defaults = {"model": MODEL, "temperature": 0, "max_output_tokens": 16}
    with client.responses.stream(**{**defaults, "input": given, **fields}) as stream:
        events: list[Any] = list(stream)
    return events, events[-1].response


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


def test_a_chat_completion_goes_on_as_a_response(client: OpenAI, server: AppServer) -> None:
    messages = [
        {"role": "user", "content": "My name is Ann."},
        {"role": "developer", "content": "Rhyme."},
    ]
    stored = server.chat(messages=messages, n=2, max_tokens=4, store=True, temperature=0).json()
    response_id = stored["id"].replace("chatcmpl-", "resp_")
    answer = ask(client, previous_response_id=response_id)
    said = {"role": "assistant", "content": stored["choices"][0]["message"]["content"]}
    again = [*messages, said, {"role": "user", "content": QUESTION}]
    same = server.chat(messages=again, max_tokens=16, temperature=0).json()
    assert answer.output_text == same["choices"][0]["message"]["content"]
    kept = client.responses.retrieve(response_id)
    assert kept.output_text == said["content"]
    assert kept.status == "incomplete"


def test_a_response_whose_call_was_cut_off_goes_on(client: OpenAI) -> None:
    fields: dict[str, Any] = {"tools": [WEATHER], "tool_choice": "required", "store": True}
    cut = ask(client, max_output_tokens=6, **fields)
    assert cut.status == "incomplete"
    assert ask(client, previous_response_id=cut.id).status in ("completed", "incomplete")


@pytest.mark.slow
def test_a_setting_stores_responses_unless_told_otherwise(start_server: StartServer) -> None:
    server = start_server("--model", "builtin", "--responses-store", "true")
    with server.openai() as client:
        kept, not_kept = ask(client), ask(client, store=False)
        streamed_one = streamed(client)[1]
        assert client.responses.retrieve(kept.id).store is True  # type: ignore[attr-defined]
        assert client.responses.retrieve(streamed_one.id).id == streamed_one.id
        with pytest.raises(NotFoundError):
            client.responses.retrieve(not_kept.id)
    answer = server.http.post("/v1/responses", json={"model": MODEL, "input": "Hi", "store": None})
    assert answer.json()["store"] is True
    chat = server.chat(messages=[{"role": "user", "content": "Hi"}], max_tokens=1).json()
    assert server.http.get(f"/v1/chat/completions/{chat['id']}").status_code == 404


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


def test_a_stored_response_goes_on(client: OpenAI, server: AppServer) -> None:
    first = ask(client, "My name is Ann.", instructions="Be brief.", store=True)
    second = ask(client, QUESTION, previous_response_id=first.id, instructions="Rhyme.", store=True)
    assert second.previous_response_id == first.id
    messages = [
        {"role": "system", "content": "Rhyme."},
        {"role": "user", "content": "My name is Ann."},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": QUESTION},
    ]
    same = server.chat(messages=messages, max_tokens=16, temperature=0).json()
    assert second.output_text == same["choices"][0]["message"]["content"]
    assert second.usage is not None
    assert second.usage.input_tokens == same["usage"]["prompt_tokens"]
    counted = client.responses.input_tokens.count(
        model=MODEL, input=QUESTION, previous_response_id=first.id, instructions="Rhyme."
    )
    assert counted.input_tokens == second.usage.input_tokens

    again = client.responses.retrieve(second.id)
    assert again.output_text == second.output_text
    assert again.instructions == "Rhyme."
    items = client.responses.input_items.list(second.id, order="asc").data
    assert [item.type for item in items] == ["message"] * 3
    client.responses.delete(first.id)
    with pytest.raises(NotFoundError):
        client.responses.retrieve(first.id)
    with pytest.raises(BadRequestError) as gone:
        ask(client, previous_response_id=first.id)
    assert gone.value.code == "previous_response_not_found"
    with pytest.raises(BadRequestError):
        client.responses.cancel(second.id)


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


def test_items_are_referred_to(client: OpenAI) -> None:
    """Those of a response's input and of its output, which are the same as sent again."""
    fields: dict[str, Any] = {"tools": [WEATHER], "parallel_tool_calls": False}
    first = ask(client, tool_choice="required", store=True, max_output_tokens=60, **fields)
    (call,) = first.output
    assert isinstance(call, ResponseFunctionToolCall)
    (question,) = client.responses.input_items.list(first.id).data
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny."}
    sent: list[Any] = [{"role": "user", "content": QUESTION}, call.to_dict(), result]
    references: list[Any] = [
        {"id": question.id},
        {"type": "item_reference", "id": call.id},
        result,
    ]
    answers = [ask(client, given, tool_choice="none", **fields) for given in (sent, references)]
    assert answers[0].output_text == answers[1].output_text
    used = [answer.usage.input_tokens for answer in answers if answer.usage is not None]
    assert used[0] == used[1]
    counted = client.responses.input_tokens.count(model=MODEL, input=references, **fields)
    assert counted.input_tokens > 10


@pytest.mark.parametrize("item_id", ["msg_0123456789abcdef", "rs_1", "?", "msg_" + "0" * 128])
def test_unknown_items_are_not_found(client: OpenAI, item_id: str) -> None:
    given: list[Any] = [{"role": "user", "content": "Hi"}, {"id": item_id}]
    with pytest.raises(NotFoundError) as missing:
        ask(client, given)
    assert missing.value.param == "input[1].id"


def test_items_of_a_few_responses_are_referred_to(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as refused:
        ask(client, [{"type": "item_reference", "id": f"msg_{i:032x}"} for i in range(40)])
    assert refused.value.param == "input"


@pytest.mark.slow
def test_responses_are_the_tenants_own(start_server: StartServer) -> None:
    keys = ("--api-key", "sk-one,sk-two")
    server = start_server("--model", "builtin", *keys)
    with server.openai(api_key="sk-one") as one, server.openai(api_key="sk-two") as two:
        stored = ask(one, store=True)
        assert one.responses.retrieve(stored.id).id == stored.id
        with pytest.raises(NotFoundError):
            two.responses.retrieve(stored.id)
        with pytest.raises(BadRequestError):
            ask(two, previous_response_id=stored.id)
        reference: list[Any] = [{"type": "item_reference", "id": stored.output[0].id}]
        assert ask(one, reference).output_text
        with pytest.raises(NotFoundError):
            ask(two, reference)
