"""State of the Responses API: responses that go on, and items that are referred to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock, patch

import orjson
import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from openai.types.responses import (
    ResponseFunctionToolCall,
)

from functions.http.endpoints import stored_responses
from tests.api.conftest import StartServer
from tests.api.responses import MODEL, QUESTION, WEATHER, ask, streamed
from tests.app_server import AppServer


@pytest.fixture
def client(server: AppServer) -> Iterator[OpenAI]:
    with server.openai() as client:
        yield client


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


def test_nothing_of_a_stored_response_is_written_on_the_event_loop(
    client: OpenAI, server: AppServer
) -> None:
    """One with many log probabilities is megabytes."""
    kept = ask(client, store=True, background=True)
    threads: set[str] = set()

    def dumps(value: Any) -> bytes:
        threads.add(threading.current_thread().name.split("_")[0])
        return orjson.dumps(value)

    with patch.object(stored_responses, "orjson", Mock(dumps=dumps)):
        assert server.http.get(f"/v1/responses/{kept.id}").status_code == 200  # it may run
        assert server.http.post(f"/v1/responses/{kept.id}/cancel").status_code == 200
        for path in ("", "/input_items"):
            assert server.http.get(f"/v1/responses/{kept.id}{path}").status_code == 200
    assert threads <= {"store", "requests"}


def test_functions_of_earlier_fields_are_items_like_tools(
    client: OpenAI, server: AppServer
) -> None:
    function = {"name": "get_weather", "parameters": WEATHER["parameters"]}
    messages = [
        {"role": "user", "content": QUESTION},
        {
            "role": "assistant",
            "content": None,
            "function_call": {"name": "get_weather", "arguments": '{"city": "Oslo"}'},
        },
        {"role": "function", "name": "get_weather", "content": "Sunny"},
    ]
    stored = server.chat(
        messages=messages,
        functions=[function],
        function_call={"name": "get_weather"},
        store=True,
    ).json()
    assert stored["choices"][0]["message"]["function_call"]["name"] == "get_weather"
    response_id = stored["id"].replace("chatcmpl-", "resp_")

    (answered,) = client.responses.retrieve(response_id).output
    assert isinstance(answered, ResponseFunctionToolCall)
    asked = client.responses.input_items.list(response_id, order="asc").data
    assert [item.type for item in asked] == ["message", "function_call", "function_call_output"]
    first, result = asked[1:]
    assert first.call_id == result.call_id != answered.call_id  # type: ignore[union-attr]

    references: Any = [{"type": "item_reference", "id": item.id} for item in (*asked, answered)]
    output = {"type": "function_call_output", "call_id": answered.call_id, "output": "Rain"}
    assert ask(client, [*references, output]).status in ("completed", "incomplete")
    ask(client, [output], previous_response_id=response_id)
