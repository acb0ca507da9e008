"""What is wrong with tools, formats, grammars and templates is said in words that help."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.test_errors import error_of
from tests.server import CAPITAL, Server, user

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": CITY}}
ASSISTANT = {"role": "assistant", "content": "The capital"}
BEYOND = {"not": {"type": "string"}}
"""A schema that no grammar can be made of."""


def tool(**function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", **function}}


def schema_format(schema: object) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


Case = tuple[dict[str, Any], str, str, str]
# the request's fields, param, code, and what the message has to say

TOOLS: list[Case] = [
    ({"tools": WEATHER}, "tools", "invalid_type", "array"),
    (
        {"tools": [{"type": "function", "name": "f"}]},
        *("tools[0].function", "missing_required_parameter", "tools[0].function"),
    ),
    (
        {"tools": [tool(parameters="{}")]},
        *("tools[0].function.parameters", "invalid_type", "object"),
    ),
    ({"tools": [tool()] * 129}, "tools", "invalid_value", "at most 128 items, not 129"),
    (
        {"tools": [{"type": "custom", "custom": {"name": "f"}}]},
        *("tools[0].type", "unsupported_value", "type 'function'"),
    ),
    (
        {"tools": [tool(), tool(name="g", parameters=BEYOND)], "tool_choice": "required"},
        *("tools[1].function.parameters", "unsupported_schema", "'not' at #"),
    ),
    (
        {"tools": [tool(), tool(name="g", parameters={"enum": [1]})], "tool_choice": "required"},
        *("tools[1].function.parameters", "unsupported_schema", "incompatible types."),
    ),
    (
        {"tools": [tool(strict=True, parameters={"type": "strin"})]},
        *(
            "tools[0].function.parameters",
            "unsupported_schema",
            "'type' at # is no type of JSON: strin.",
        ),
    ),
    (
        {
            "functions": [{"name": "f", "parameters": {"type": "string", "pattern": "("}}],
            "function_call": {"name": "f"},
        },
        *("functions[0].parameters", "unsupported_schema", "in the pattern (: unclosed group."),
    ),
    (
        {"tools": [WEATHER], "tool_choice": "get_weather"},
        *("tool_choice", "invalid_value", "'required' or an object that names a function"),
    ),
    (
        {"tools": [WEATHER], "tool_choice": {"type": "function", "name": "get_weather"}},
        *("tool_choice.function", "missing_required_parameter", "tool_choice.function"),
    ),
    (
        {"tools": [WEATHER], "tool_choice": {"type": "allowed_tools", "mode": "auto"}},
        *("tool_choice.allowed_tools", "missing_required_parameter", "allowed_tools"),
    ),
    (
        {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "g"}}},
        *("tool_choice", "invalid_value", "there is no function 'g'"),
    ),
    ({"tool_choice": "required"}, "tool_choice", "invalid_value", "when 'tools' is given"),
    (
        {"tools": [tool(input_schema=CITY)]},
        *("tools[0].function", "unsupported_parameter", "'function.parameters'"),
    ),
    (
        {"tools": [{**tool(parameters=CITY), "strict": True}]},
        *("tools[0]", "unsupported_parameter", "'function.strict'"),
    ),
    (
        {"functions": [{"name": "f", "inputSchema": CITY}]},
        *("functions[0]", "unsupported_parameter", "'inputSchema'"),
    ),
    (
        {"functions": [{"name": "f"}], "function_call": "required"},
        *("function_call", "invalid_value", "'auto' or an object that names a function"),
    ),
    (
        {"functions": [{"name": "f"}], "tools": [WEATHER]},
        *("functions", "invalid_value", "send one of them"),
    ),
]
FORMATS: list[Case] = [
    ({"response_format": "json"}, "response_format", "invalid_type", "object"),
    (
        {"response_format": {"type": "json_schema", "name": "answer", "schema": {}}},
        *("response_format.json_schema", "missing_required_parameter", "json_schema"),
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
        *("response_format.json_schema.name", "missing_required_parameter", "name"),
    ),
    (
        {"response_format": schema_format(BEYOND)},
        *("response_format.json_schema.schema", "unsupported_schema", "'not' at #"),
    ),
    (
        {"response_format": schema_format({"type": "string", "pattern": "a(?!b)"})},
        *(
            "response_format.json_schema.schema",
            "unsupported_schema",
            "'pattern' at # can't be followed: look-ahead",
        ),
    ),
    (
        {"response_format": schema_format({"$ref": "#/$defs/x"})},
        *("response_format.json_schema.schema", "unsupported_schema", "'/$defs/x'"),
    ),
    (
        {"response_format": {"type": "json_object", "schema": BEYOND}},
        *("response_format.schema", "unsupported_schema", "'not' at #"),
    ),
    ({"json_schema": BEYOND}, "json_schema", "unsupported_schema", "'not' at #"),
    ({"grammar": 'a ::= "x"'}, "grammar", "unsupported_grammar", "'root'"),
    ({"grammar": "root ::= lamp"}, "grammar", "unsupported_grammar", "'lamp'"),
    ({"grammar": "start: lamp"}, "grammar", "unsupported_grammar", '"lamp"'),
    ({"regex": "("}, "regex", "unsupported_grammar", "not supported: unclosed group."),
    ({"regex": "a(?!b)"}, "regex", "unsupported_grammar", "not supported: look-around"),
    (
        {"regex": "a+", "response_format": {"type": "json_object"}},
        *("regex", "invalid_value", "'regex' and 'response_format' both"),
    ),
    (
        {"response_format": {"type": "text", "json_schema": {"name": "x", "schema": CITY}}},
        *("response_format", "invalid_value", "the type is 'json_schema'"),
    ),
    (
        {"response_format": {"type": "json_object", "value": CITY}},
        *("response_format", "unsupported_parameter", "'value'"),
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", **CITY}}},
        *("response_format.json_schema", "unsupported_parameter", "'type'"),
    ),
    (
        {"response_format": {"type": "regex", "pattern": "a+"}},
        *("response_format.type", "invalid_value", "'regex' and 'grammar'"),
    ),
]
TEMPLATES: list[Case] = [
    (
        {"continue_final_message": True},
        *("continue_final_message", "invalid_value", "the last message has to be the assistant's"),
    ),
    (
        {
            "continue_final_message": True,
            "messages": [*CAPITAL, {"role": "assistant", "refusal": "No."}],
        },
        *("continue_final_message", "invalid_value", "with content"),
    ),
    (
        {
            "continue_final_message": True,
            "add_generation_prompt": True,
            "messages": [*CAPITAL, ASSISTANT],
        },
        *("add_generation_prompt", "invalid_value", "send one of them"),
    ),
    ({"chat_template_kwargs": "x"}, "chat_template_kwargs", "invalid_type", "object"),
    (
        {"chat_template_kwargs": {"add_generation_prompt": False}},
        *("chat_template_kwargs.add_generation_prompt", "invalid_value", "add_generation_prompt"),
    ),
    ({"reasoning_effort": 3}, "reasoning_effort", "invalid_type", "string"),
]
OTHERS: list[Case] = [
    ({"web_search_options": {}}, "web_search_options", "unsupported_parameter", "searches"),
    ({"moderation": {"model": "m"}}, "moderation", "unsupported_parameter", "moderates"),
    ({"modalities": ["audio"]}, "modalities", "unsupported_modality", "docs/roadmap.md"),
    ({"audio": {"voice": "a"}}, "audio", "unsupported_modality", "docs/roadmap.md"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        *("messages[0].content[0]", "unsupported_content", "docs/roadmap.md"),
    ),
    (
        {"messages": [*CAPITAL, {**ASSISTANT, "audio": {"id": "audio_1"}}]},
        *("messages[1].audio", "unsupported_content", "docs/roadmap.md"),
    ),
    (
        {
            "messages": [
                *CAPITAL,
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "1", "type": "custom", "custom": {"name": "f"}}],
                },
            ]
        },
        *("messages[1].tool_calls[0].type", "unsupported_value", "type 'function'"),
    ),
    ({"prediction": {"content": "x"}}, "prediction.type", "missing_required_parameter", "type"),
    ({"prompt_cache_options": {"mode": "x"}}, "prompt_cache_options.mode", "invalid_value", "or"),
    ({"metadata": {"k" * 65: "v"}}, "metadata", "invalid_value", "One of its keys"),
    (
        {"metadata": {str(i): "v" for i in range(17)}},
        *("metadata", "invalid_value", "at most 16 items"),
    ),
    ({"stop": ["a"] * 17}, "stop", "invalid_value", "at most 16 items, not 17."),
]


def cases() -> Iterator[Any]:
    for case in TOOLS + FORMATS + TEMPLATES + OTHERS:
        yield pytest.param(*case, id=json.dumps(case[0])[:60])


@pytest.mark.parametrize(("fields", "param", "code", "phrase"), list(cases()))
def test_the_error_says_where_and_what(
    server: Server, fields: dict[str, Any], param: str, code: str, phrase: str
) -> None:
    response = server.chat(**{"max_tokens": 1, **fields})

    error = error_of(response)
    assert response.status_code == 400
    assert (error["param"], error["code"]) == (param, code)
    assert phrase in error["message"]
    assert "after validation" not in error["message"]
    assert "start:" not in error["message"] or param == "grammar", "no grammar but the caller's"


@pytest.mark.parametrize(
    ("fields", "param", "phrase"),
    [
        ({"max_tokens": 0}, "max_tokens", "0 with 'echo': true"),
        ({"n": 3, "best_of": 2}, "best_of", "at least 'n', which is 3"),
        ({"best_of": 2, "stream": True}, "best_of", "can't be streamed"),
        ({"suffix": "end"}, "suffix", "no fill-in-the-middle tokens"),
        ({"suffix": "end", "echo": True, "logprobs": 1}, "suffix", "log probabilities"),
        ({"logprobs": True}, "logprobs", "integer"),
    ],
    ids=json.dumps,
)
def test_text_fields_that_do_not_go_together_are_named(
    server: Server, fields: dict[str, Any], param: str, phrase: str
) -> None:
    response = server.text(**fields)

    error = error_of(response)
    assert response.status_code == 400
    assert error["param"] == param
    assert phrase in error["message"]


def test_unknown_fields_are_named_wherever_they_are(server: Server) -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "Hi", "colour": "red"}]}
    call = {"id": "1", "function": {"name": "f", "arguments": "{}", "a": 1}, "index": 0}

    response = server.chat(
        messages=[message, {"role": "assistant", "tool_calls": [call]}, *user("Hi")],
        response_format={"type": "text", "b": 1},
        stream=True,
        stream_options={"include_usage": True, "c": 1},
        max_tokens=1,
        d={},
    )

    assert response.status_code == 200
    assert response.headers["x-ignored-params"].split(", ") == [
        "d",
        "messages[0].content[0].colour",
        "messages[1].tool_calls[0].function.a",
        "messages[1].tool_calls[0].index",
        "response_format.b",
        "stream_options.c",
    ]


def test_fields_that_templates_may_read_are_not_called_ignored(server: Server) -> None:
    response = server.chat(
        messages=[{**CAPITAL[0], "mood": "curious"}],
        tools=[{**WEATHER, "examples": []}],
        max_tokens=1,
    )

    assert response.status_code == 200
    assert "x-ignored-params" not in response.headers


def test_what_nobody_knows_of_a_call_stays_out_of_the_prompt(server: Server) -> None:
    def prompt(**extra: Any) -> str:
        call = {"id": "1", "function": {"name": "f", "arguments": "{}"}, **extra}
        messages = [*CAPITAL, {"role": "assistant", "tool_calls": [call]}]
        response = server.post("/apply-template", {"messages": messages})
        return str(response.raise_for_status().json()["prompt"])

    assert prompt(index=0, lamp="on") == prompt()


def test_a_refusal_is_what_the_assistant_said(server: Server) -> None:
    messages = [*CAPITAL, {"role": "assistant", "refusal": "I will not say."}, *user("Why?")]

    prompt = server.post("/apply-template", {"messages": messages}).json()["prompt"]

    assert "<|im_start|>assistant\nI will not say.<|im_end|>" in prompt


@pytest.mark.parametrize(
    ("field", "advice"),
    [
        ({"guided_json": {"type": "object"}}, "response_format"),
        ({"guided_choice": ["a", "b"]}, "regex"),
        ({"structured_outputs": {"regex": "a"}}, "regex"),
        ({"stop_token_ids": [1]}, "stop"),
        ({"use_beam_search": True}, "best_of"),
    ],
)
def test_fields_of_other_servers_that_would_change_the_answer(
    server: Server, field: dict[str, object], advice: str
) -> None:
    native = server.post("/completion", {"prompt": "Hi", **field})
    for response in (server.chat(**field), server.text(**field), native):
        error = response.json()["error"]
        assert response.status_code == 400
        assert [error["param"]] == list(field)
        assert error["code"] == "unsupported_parameter"
        assert advice in error["message"]


def test_fields_of_other_servers_that_are_off(server: Server) -> None:
    response = server.chat(guided_json=None, use_beam_search=False, max_tokens=1)

    assert response.status_code == 200
    assert response.headers["x-ignored-params"] == "guided_json, use_beam_search"
