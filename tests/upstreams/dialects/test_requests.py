"""Requests of both dialects beyond the table: conversations, limits of values, refusals."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from shared.protocol.errors import APIError
from shared.upstreams.dialects.anthropic_request import DEFAULT_MAX_TOKENS
from tests.upstreams.dialects.request_cases import CALL, CALLS, RESULT, TOOL
from tests.upstreams.dialects.translation import (
    KEY,
    PNG,
    QUESTION,
    body_of,
    dialect_of,
    refusal_of,
)

KINDS = ("anthropic", "bedrock")


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def test_what_tools_return_is_the_users_turn() -> None:
    second = {**CALL, "id": "call_2"}
    messages = [
        {"role": "system", "content": "Be brief."},
        QUESTION,
        {"role": "assistant", "content": "I look.", "tool_calls": [CALL, second]},
        RESULT,
        {**RESULT, "tool_call_id": "call_2", "content": ""},
        {"role": "user", "content": "And?"},
        {"role": "developer", "content": "In French."},
    ]
    body = body_of("anthropic", messages=messages, tools=[TOOL])
    assert [block["text"] for block in body["system"]] == ["Be brief.", "In French."]
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    call = {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Paris"}}
    assert body["messages"][1]["content"] == [
        {"type": "text", "text": "I look."},
        call,
        {**call, "id": "call_2"},
    ]
    assert body["messages"][2]["content"] == [
        {
            "type": "tool_result",
            "tool_use_id": "call_1",
            "content": [{"type": "text", "text": "sunny"}],
        },
        {"type": "tool_result", "tool_use_id": "call_2"},
        {"type": "text", "text": "And?"},
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_blank_texts_are_left_out(kind: str) -> None:
    blank = [
        {"role": "system", "content": " "},
        QUESTION,
        {"role": "assistant", "content": ""},
        {"role": "user", "content": [{"type": "text", "text": "\n"}]},
    ]
    assert body_of(kind, messages=blank) == body_of(kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [{"role": "system", "content": "Be brief."}]}, "messages"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages"),
        ({"messages": [QUESTION, {"role": "assistant", "content": "P"}]}, "messages"),
        ({"continue_final_message": True}, "continue_final_message"),
        ({"temperature": 1.1}, "temperature"),
        ({"reasoning_effort": "minimal"}, "reasoning_effort"),
        ({"service_tier": "scale"}, "service_tier"),
        ({"prompt_cache_options": {"ttl": "30m"}}, "prompt_cache_options.ttl"),
        ({"tool_choice": "required"}, "tool_choice"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "no"}}},
            "tool_choice",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
            "response_format",
        ),
        ({"messages": user({"type": "video_url"})}, "messages[0].content[0].type"),
        ({"messages": user({"type": "image_url"})}, "messages[0].content[0].image_url"),
        (
            {"messages": user({"type": "image_url", "image_url": {"url": 5}})},
            "messages[0].content[0].image_url.url",
        ),
        (
            {"messages": user({"type": "image_url", "image_url": {"url": "data:image/png,xx"}})},
            "messages[0].content[0].image_url.url",
        ),
        (
            {
                "messages": user(
                    {"type": "image_url", "image_url": {"url": PNG.replace("png", "bmp")}}
                )
            },
            "messages[0].content[0].image_url.url",
        ),
        (
            {"messages": user({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}})},
            "messages[0].content[0].image_url.url",
        ),
        (
            {"messages": user({"type": "file", "file": {"file_data": PNG}})},
            "messages[0].content[0].file.file_data",
        ),
        (
            {
                "messages": [
                    QUESTION,
                    CALLS,
                    {**RESULT, "content": [{"type": "image_url", "image_url": {"url": PNG}}]},
                ]
            },
            "messages[2].content",
        ),
    ],
)
def test_refusals(kind: str, fields: dict[str, Any], param: str) -> None:
    assert refusal_of(kind, **fields).param == param


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("arguments", ["[]", "5", "{", '{"a": NaN}', "null"])
def test_arguments_that_are_no_object_are_refused(kind: str, arguments: str) -> None:
    call = {**CALL, "function": {"name": "weather", "arguments": arguments}}
    message = {"role": "assistant", "tool_calls": [CALL, call]}
    error = refusal_of(kind, messages=[QUESTION, message, RESULT])
    assert error.param == "messages[1].tool_calls[1].function.arguments"


def test_no_arguments_are_an_empty_object() -> None:
    call = {**CALL, "function": {"name": "weather", "arguments": ""}}
    body = body_of(
        "anthropic", messages=[QUESTION, {"role": "assistant", "tool_calls": [call]}, RESULT]
    )
    assert body["messages"][1]["content"][0]["input"] == {}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_nested_too_deeply_is_refused(kind: str) -> None:
    deep = "[" * 300 + "]" * 300
    call = {**CALL, "function": {"name": "weather", "arguments": f'{{"a": {deep}}}'}}
    message = {"role": "assistant", "tool_calls": [call]}
    assert "deeply" in refusal_of(kind, messages=[QUESTION, message, RESULT]).message
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(300):
        schema = {"properties": {"a": schema}}
    assert "deeply" in refusal_of(kind, json_schema=schema).message


@pytest.mark.parametrize("kind", KINDS)
def test_there_are_no_text_completions(kind: str) -> None:
    with pytest.raises(APIError) as caught:
        dialect_of(kind).request("text", {"prompt": "Paris is"})
    assert (caught.value.status, caught.value.param) == (400, "model")
    assert "/v1/chat/completions" in caught.value.message


def test_anthropics_limit_of_tokens_has_a_default() -> None:
    assert body_of("anthropic")["max_tokens"] == DEFAULT_MAX_TOKENS
    assert body_of("anthropic", max_tokens=5, max_completion_tokens=7)["max_tokens"] == 7
    assert "inferenceConfig" not in body_of("bedrock")


def test_anthropics_headers() -> None:
    """The version that has sampling parameters is asked for where they are sent."""
    dialect = dialect_of("anthropic")
    request = dialect.request("chat", {"messages": [QUESTION]})
    assert request.path == "/messages"
    assert dict(request.headers) == {
        b"accept": b"application/json",
        b"anthropic-version": b"2026-10-21",
        b"x-api-key": KEY.encode(),
    }
    for name, value in (("temperature", 0), ("top_p", 0.9), ("top_k", 5)):
        request = dialect.request("chat", {"messages": [QUESTION], name: value})
        assert orjson.loads(request.body)[name] == value
        assert dict(request.headers)[b"anthropic-version"] == b"2023-06-01"
    keyless = dialect_of("anthropic", key=None).request("chat", {"messages": [QUESTION]})
    assert b"x-api-key" not in dict(keyless.headers)


def test_anthropics_thinking_and_tools_that_have_to_be_called_exclude_each_other() -> None:
    body = body_of("anthropic", reasoning_effort="high", tools=[TOOL], tool_choice="required")
    assert body["output_config"] == {"effort": "high"}
    assert "thinking" not in body
    assert body_of("anthropic", reasoning_effort="none")["thinking"] == {"type": "disabled"}


def test_anthropics_effort_and_format_are_in_one_object() -> None:
    body = body_of("anthropic", reasoning_effort="max", json_schema={"type": "object"})
    assert body["output_config"] == {
        "effort": "max",
        "format": {"type": "json_schema", "schema": {"type": "object"}},
    }


def test_anthropic_fetches_images_by_url_and_reads_plain_text() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    text = {"type": "file", "file": {"file_data": "data:text/plain;charset=utf-8;base64,w6k="}}
    (message,) = body_of("anthropic", messages=user(image, text))["messages"]
    assert [block["source"] for block in message["content"]] == [
        {"type": "url", "url": "https://example.com/a.png"},
        {"type": "text", "media_type": "text/plain", "data": "é"},
    ]
    for data in ("!", "/w=="):
        part = {"type": "file", "file": {"file_data": f"data:text/plain;base64,{data}"}}
        error = refusal_of("anthropic", messages=user(part))
        assert error.param == "messages[0].content[0].file.file_data"


def test_anthropic_takes_no_white_space_as_a_stop() -> None:
    assert refusal_of("anthropic", stop=["END", "\n"]).param == "stop"
    assert body_of("bedrock", stop=["END", "\n"])["inferenceConfig"]["stopSequences"] == [
        "END",
        "\n",
    ]


@pytest.mark.parametrize(
    ("choice", "found"),
    [("none", {"type": "none"}), ("auto", {"type": "auto"}), ("required", {"type": "any"})],
)
def test_anthropics_tool_choices(choice: str, found: dict[str, Any]) -> None:
    assert body_of("anthropic", tools=[TOOL], tool_choice=choice)["tool_choice"] == found


def test_the_end_of_a_prefix_is_marked_where_it_is() -> None:
    """For what a tool returned, after it: within a result there are no breakpoints."""
    marked = {"type": "text", "text": "long", "prompt_cache_breakpoint": {"mode": "explicit"}}
    messages = [
        {"role": "system", "content": [marked]},
        QUESTION,
        CALLS,
        {**RESULT, "content": [marked]},
    ]
    control = {"cache_control": {"type": "ephemeral"}}
    body = body_of("anthropic", messages=messages, tools=[TOOL])
    assert body["system"] == [{"type": "text", "text": "long", **control}]
    assert body["messages"][2]["content"] == [
        {
            "type": "tool_result",
            "tool_use_id": "call_1",
            "content": [{"type": "text", "text": "long"}],
            **control,
        }
    ]
    point = {"cachePoint": {"type": "default"}}
    body = body_of("bedrock", messages=messages, tools=[TOOL])
    assert body["system"] == [{"text": "long"}, point]
    assert body["messages"][2]["content"][1] == point
