"""Anthropic's Messages API, by its own client."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from anthropic import (
    Anthropic,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    RateLimitError,
)
from anthropic.types import Message, MessageParam, TextBlock, ThinkingBlock, ToolUseBlock

from tests.api.conftest import StartServer
from tests.app_server import AppServer
from tests.server import running_stream, wait_until

CAPITAL: list[MessageParam] = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


def client_of(server: AppServer, **options: Any) -> Anthropic:
    return Anthropic(
        base_url=server.url,
        http_client=server.client(),
        **{"api_key": "unused", "max_retries": 0, **options},
    )


@pytest.fixture
def client(server: AppServer) -> Anthropic:
    return client_of(server)


def ask(client: Anthropic, **fields: Any) -> Message:
    defaults: dict[str, Any] = {
        "model": "pilotlight-builtin",
        "max_tokens": 16,
        "messages": CAPITAL,
    }
    # The client's newest version has none of the fields of sampling any more.
    extra = {"temperature": 0, **fields.pop("extra_body", {})}
    answer = client.messages.create(**{**defaults, **fields, "extra_body": extra})
    assert isinstance(answer, Message)
    return answer


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if isinstance(block, TextBlock))


def test_an_answer_is_the_one_of_a_chat_completion(client: Anthropic, server: AppServer) -> None:
    answer = ask(client)
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    same = server.chat(messages=messages, max_completion_tokens=16, temperature=0).json()
    assert text_of(answer) == same["choices"][0]["message"]["content"] != ""
    assert answer.id.startswith("msg_")
    assert answer.model == "pilotlight-builtin"
    assert answer.stop_reason == "end_turn"
    usage = answer.usage
    assert usage.cache_read_input_tokens is not None
    n_prompt = usage.input_tokens + usage.cache_read_input_tokens
    assert (n_prompt, usage.output_tokens) == (
        same["usage"]["prompt_tokens"],
        same["usage"]["completion_tokens"],
    )
    assert answer._request_id is not None


def test_a_stream_adds_up_to_the_whole_answer(client: Anthropic) -> None:
    whole = ask(client)
    fields: dict[str, Any] = {"model": "pilotlight-builtin", "max_tokens": 16, "messages": CAPITAL}
    with client.messages.stream(**fields, extra_body={"temperature": 0}) as stream:
        events = [event.type for event in stream]
        final = stream.get_final_message()
    assert text_of(final) == text_of(whole)
    assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", whole.usage.output_tokens)
    assert events[0] == "message_start"
    assert events[-1] == "message_stop"
    assert {"content_block_start", "content_block_delta", "content_block_stop"} < set(events)


def test_the_start_of_a_stream_says_how_long_the_prompt_is(client: Anthropic) -> None:
    count = client.messages.count_tokens(model="pilotlight-builtin", messages=CAPITAL)
    events = client.messages.create(
        model="pilotlight-builtin", max_tokens=1, messages=CAPITAL, stream=True
    )
    start = next(iter(events))
    assert start.type == "message_start"
    assert start.message.usage.input_tokens == count.input_tokens > 0
    events.close()


def test_stop_sequences_are_told(client: Anthropic) -> None:
    whole = text_of(ask(client))
    stop = whole[4:7]
    answer = ask(client, stop_sequences=["never written", stop])
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", stop)
    assert text_of(answer) == whole[: whole.index(stop)]
    fields: dict[str, Any] = {"model": "pilotlight-builtin", "max_tokens": 16, "messages": CAPITAL}
    with client.messages.stream(
        **fields, stop_sequences=[stop], extra_body={"temperature": 0}
    ) as stream:
        final = stream.get_final_message()
    assert (final.stop_reason, final.stop_sequence) == ("stop_sequence", stop)


def test_the_limit_of_tokens_is_told(client: Anthropic) -> None:
    answer = ask(client, max_tokens=2)
    assert (answer.stop_reason, answer.stop_sequence) == ("max_tokens", None)
    assert answer.usage.output_tokens == 2


def test_system_and_prefill_reach_the_prompt(client: Anthropic, server: AppServer) -> None:
    begun: list[MessageParam] = [*CAPITAL, {"role": "assistant", "content": "The capital"}]
    answer = ask(client, system=[{"type": "text", "text": "Be brief."}], messages=begun)
    same = server.chat(
        messages=[{"role": "system", "content": "Be brief."}, *begun],
        continue_final_message=True,
        max_tokens=16,
        temperature=0,
    )
    assert text_of(answer) == same.json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_tool_loop(client: Anthropic, *, is_streamed: bool) -> None:
    fields: dict[str, Any] = {
        "model": "pilotlight-builtin",
        "max_tokens": 60,
        "tools": [WEATHER],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    }
    if is_streamed:
        with client.messages.stream(**fields, messages=CAPITAL) as stream:
            called: Message = stream.get_final_message()
    else:
        called = ask(client, **fields)
    assert called.stop_reason == "tool_use"
    (call,) = (block for block in called.content if isinstance(block, ToolUseBlock))
    assert call.name == "get_weather"
    assert call.input["city"] in ("Paris", "Rome")
    result: dict[str, Any] = {
        "type": "tool_result",
        "tool_use_id": call.id,
        "content": [{"type": "text", "text": "Sunny."}],
    }
    turns: list[Any] = [
        *CAPITAL,
        {"role": "assistant", "content": called.content},
        {"role": "user", "content": [result, {"type": "text", "text": "And now?"}]},
    ]
    answer = ask(client, tools=[WEATHER], messages=turns)
    assert answer.usage.input_tokens + (answer.usage.cache_read_input_tokens or 0) > 0


def test_answers_follow_a_schema(client: Anthropic) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    }
    config = {"format": {"type": "json_schema", "schema": schema}}
    answer = ask(client, max_tokens=40, output_config=config)
    assert json.loads(text_of(answer))["city"] in ("Paris", "Rome")


def test_errors_are_in_anthropics_envelope(client: Anthropic, server: AppServer) -> None:
    with pytest.raises(BadRequestError) as refused:
        ask(client, max_tokens=0)
    body: Any = refused.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] == "invalid_request_error"
    assert "max_tokens" in body["error"]["message"]
    assert body["request_id"] == refused.value.request_id
    with pytest.raises(NotFoundError) as unknown:
        ask(client, model="claude-of-elsewhere")
    told: Any = unknown.value.body
    assert told["error"]["type"] == "not_found_error"
    not_json = server.http.post("/v1/messages", content=b"{")
    assert not_json.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"messages": [{"role": "user", "content": [{"type": "browser_state"}]}]}, "browser_state"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "role"),
        ({"tools": [{"type": "web_search_20260318", "name": "web_search"}]}, "web_search_20260318"),
        ({"extra_body": {"temperature": 1.5}}, "temperature"),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "tool", "name": "x"}, "tools": [WEATHER]}, "'x'"),
        (
            {
                "messages": [
                    {"role": "assistant", "content": [{"type": "tool_result", "tool_use_id": "1"}]}
                ]
            },
            "tool_result",
        ),
        ({"messages": []}, "messages"),
        ({"extra_body": {"output_format": {"type": "json_schema"}}}, "output_format' was this API"),
        ({"extra_body": {"response_format": {"type": "text"}}}, "a field of chat completions"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}}
                        ],
                    }
                ]
            },
            "image",
        ),
    ],
)
def test_what_is_not_supported_is_refused(
    client: Anthropic, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadRequestError) as refused:
        ask(client, **fields)
    assert said in str(refused.value)


def test_unknown_fields_are_named_and_those_of_chats_taken(server: AppServer) -> None:
    body = {"model": "pilotlight-builtin", "max_tokens": 1, "messages": CAPITAL}
    answer = server.http.post("/v1/messages", json={**body, "container": "c", "min_p": 0.1})
    assert answer.headers["x-ignored-params"] == "container"
    refused = server.http.post("/v1/messages", json={**body, "min_p": 7})
    assert "min_p" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages/count_tokens", {"messages": CAPITAL, "max_tokens": 1}),
        ("/v1/responses/input_tokens", {"input": "Hi", "max_output_tokens": 1}),
        ("/v1/chat/completions/input_tokens", {"messages": CAPITAL, "max_tokens": 1}),
    ],
)
def test_unknown_fields_of_a_count_are_named(
    server: AppServer, path: str, body: dict[str, Any]
) -> None:
    answer = server.http.post(path, json={**body, "temperature": 0, "colour": "red"})
    assert answer.headers["x-ignored-params"] == "colour"


@pytest.mark.slow
def test_keys_are_checked(start_server: StartServer) -> None:
    server = start_server("--model", "builtin", "--api-key", "sk-right")
    with pytest.raises(AuthenticationError) as refused:
        ask(client_of(server, api_key="sk-wrong"))
    body: Any = refused.value.body
    assert body["error"]["type"] == "authentication_error"
    assert ask(client_of(server, api_key="sk-right")).content
    assert ask(client_of(server, api_key=None, auth_token="sk-right")).content


def test_a_full_queue_is_a_rate_limit(start_server: StartServer) -> None:
    server = start_server("--model", "builtin", "--max-queue", "1", "--parallel", "1")
    client = client_of(server)
    with ThreadPoolExecutor(1) as threads:
        with running_stream(server):
            waiting = threads.submit(ask, client)
            wait_until(lambda: server.metric("requests_queued") == 1, "one waits")
            with pytest.raises(RateLimitError) as refused:
                ask(client)
        assert text_of(waiting.result(300))
    body: Any = refused.value.body
    assert body["error"]["type"] == "rate_limit_error"
    assert int(refused.value.response.headers["retry-after"]) >= 1


def test_a_stored_message_is_a_chat_completion(server: AppServer) -> None:
    answer = ask(client_of(server), extra_body={"store": True})
    stored_id = answer.id.replace("msg_", "chatcmpl-")
    stored = server.http.get(f"/v1/chat/completions/{stored_id}").json()
    assert stored["choices"][0]["message"]["content"] == text_of(answer)


@pytest.mark.slow
def test_thinking_is_a_block(start_server: StartServer, tmp_path: Path) -> None:
    template = (
        "{% for m in messages %}{{ m.content }}{{ m.reasoning_content or '' }}{% endfor %}"
        "{% if enable_thinking %}<think>{% endif %}"
    )
    file = tmp_path / "template.jinja"
    file.write_text(template, encoding="utf-8")
    server = start_server("--model", "builtin", "--chat-template-file", str(file))
    client = client_of(server)
    grammar = {"regex": "Well\\.</think>Paris", "temperature": 0}
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    answer = ask(client, max_tokens=60, thinking=thinking, extra_body=grammar)
    assert [block.type for block in answer.content] == ["thinking", "text"]
    thought, said = answer.content
    assert isinstance(thought, ThinkingBlock)
    assert isinstance(said, TextBlock)
    turns: list[Any] = [*CAPITAL, {"role": "assistant", "content": answer.content}, *CAPITAL]
    again = client.messages.count_tokens(model="pilotlight-builtin", messages=turns)
    once = client.messages.count_tokens(model="pilotlight-builtin", messages=CAPITAL)
    assert again.input_tokens > 2 * once.input_tokens
    fields: dict[str, Any] = {"model": "pilotlight-builtin", "max_tokens": 60, "messages": CAPITAL}
    with client.messages.stream(**fields, thinking=thinking, extra_body=grammar) as stream:
        final = stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "text"]


def test_models_are_listed_to_anthropics_client(client: Anthropic) -> None:
    (model,) = client.models.list()
    assert (model.id, model.type, model.display_name) == (
        *("pilotlight-builtin", "model", "pilotlight-builtin"),
    )
    assert client.models.retrieve(model.id) == model
