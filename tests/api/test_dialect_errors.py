"""Errors of responses and messages: they name the fields that their callers know."""

from __future__ import annotations

from typing import Any

import pytest

from shared.protocol.anthropic.messages import MessageAnswer, MessageStream
from shared.protocol.openai.responses.answer import ResponseAnswer
from shared.protocol.openai.responses.stream import ResponseStream
from tests.api.responses import WEATHER as OF_RESPONSES
from tests.api.test_messages import WEATHER as OF_MESSAGES
from tests.app_server import AppServer

MODEL = "pilotlight-builtin"
QUESTION: list[Any] = [{"role": "user", "content": "Hi"}]
WRONG = {"type": "object", "properties": {"a": {"type": "nothing"}}}
TOO_LONG = "word " * 20_000
EMPTY: list[Any] = [0, "", {}, []]
SOURCES: list[dict[str, Any]] = [
    {},
    {"type": "base64"},
    {"type": "url", "url": 1},
    {"type": []},
    {"type": None},
    {"type": "base64", "data": "x", "media_type": 1},
    {"type": "content"},
    {"type": "content", "content": [None, {"text": 1}]},
]
CALL: dict[str, Any] = {"type": "function_call", "call_id": "c", "name": "f"}
IMAGE = "data:image/png;base64,AAAA"


def text_format(schema: Any) -> dict[str, Any]:
    return {"format": {"type": "json_schema", "name": "x", "strict": True, "schema": schema}}


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/v1/chat/completions", {"type": "image_url", "image_url": {"url": IMAGE}}),
        ("/v1/responses", {"type": "input_image", "image_url": IMAGE}),
        ("/v1/messages", {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}}),
    ],
)
def test_an_image_is_told_of_in_words_of_every_dialect(
    server: AppServer, path: str, part: dict[str, Any]
) -> None:
    content = [{"role": "user", "content": [part]}]
    sent = {"input": content} if path == "/v1/responses" else {"messages": content}
    limit = "max_output_tokens" if path == "/v1/responses" else "max_tokens"
    answer = server.http.post(path, json={"model": MODEL, limit: 5, **sent})

    message = answer.json()["error"]["message"]
    assert "content[0]': this model reads text only, no images" in message


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/responses/input_tokens"])
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{**OF_RESPONSES, "parameters": WRONG}]}, "tools[0].parameters"),
        (
            {"input": [*QUESTION, {"role": "user", "content": [{"type": "input_image"}]}]},
            "input[1].content[0].file_id",
        ),
        (
            {
                "input": [
                    *QUESTION,
                    {
                        "role": "user",
                        "content": [
                            {"type": "input_text", "text": "a"},
                            {"type": "input_image", "image_url": IMAGE},
                        ],
                    },
                ],
                "instructions": "Be brief.",
            },
            "input[1].content[1]",
        ),
        (
            {"tools": [{"type": "custom", "name": "c", "format": {"type": "grammar"}}]},
            "tools[0].format.syntax",
        ),
        ({"tool_choice": "required"}, "tool_choice"),
    ],
)
def test_of_responses_prompts(
    server: AppServer, path: str, fields: dict[str, Any], param: str
) -> None:
    answer = server.http.post(path, json={"model": MODEL, "input": QUESTION, **fields})
    error = answer.json().get("error")
    if error is None and path.endswith("input_tokens"):
        return  # it is about the answer
    assert answer.status_code == 400
    assert error["param"].startswith(param), error
    assert param in error["message"], error


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"text": text_format(WRONG)}, "text.format.schema"),
        ({"input": TOO_LONG}, "input"),
        ({"reasoning": {"effort": "x" * 65}}, "reasoning.effort"),
        ({"user": "x" * 600}, "user"),
        ({"seed": "x"}, "seed"),
        ({"n": 2}, "n"),
        ({"messages": QUESTION}, "messages"),
        ({"max_tokens": 5}, "max_tokens"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logprobs": True}, "logprobs"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"stream_options": {"include_usage": 1}}, None),
    ],
)
def test_of_responses(server: AppServer, fields: dict[str, Any], param: str | None) -> None:
    answer = server.http.post("/v1/responses", json={"model": MODEL, "input": QUESTION, **fields})
    if param is None:
        assert answer.status_code == 200
        return
    error = answer.json()["error"]
    assert (answer.status_code, error["param"][: len(param)]) == (400, param), error


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"tools": [{**OF_MESSAGES, "strict": True, "input_schema": WRONG}]},
            "'tools[0].input_schema",
        ),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": WRONG}}},
            "'output_config.format.schema",
        ),
        (
            {
                "messages": [
                    *QUESTION,
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "a"},
                            {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}},
                        ],
                    },
                ],
                "system": "Be brief.",
            },
            "'messages[1].content[1]",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": {"data": [1]}}]}
                ]
            },
            "'messages[0].content[0].source'",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "document", "source": {"type": "text", "data": 1}}],
                    }
                ]
            },
            "'messages[0].content[0].source'",
        ),
        ({"tool_choice": {"type": "any"}}, "'tool_choice'"),
        ({"n": 2}, "'n'"),
        ({"logprobs": True}, "'logprobs'"),
        ({"stop": "x"}, "'stop'"),
        ({"response_format": {"type": "json_object"}}, "'response_format'"),
    ],
)
def test_of_messages(server: AppServer, fields: dict[str, Any], said: str) -> None:
    body = {"model": MODEL, "max_tokens": 5, "messages": QUESTION, **fields}
    answer = server.http.post("/v1/messages", json=body)
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["error"]["message"]


def test_a_message_of_messages_is_too_long(server: AppServer) -> None:
    body = {"model": MODEL, "max_tokens": 5, "messages": [{"role": "user", "content": TOO_LONG}]}
    answer = server.http.post("/v1/messages", json=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("name", ["n", "stream_options"])
def test_what_changes_nothing_is_taken(server: AppServer, name: str) -> None:
    extra = {"n": 1, "stream_options": {"include_usage": True}}[name]
    body = {"model": MODEL, "max_tokens": 2, "messages": QUESTION, name: extra, "stream": True}
    assert server.http.post("/v1/messages", json=body).status_code == 200
    body = {"model": MODEL, "input": "Hi", name: extra, "stream": True}
    assert server.http.post("/v1/responses", json=body).status_code == 200


def test_the_templates_switches_are_merged(server: AppServer) -> None:
    body = {
        "model": MODEL,
        "max_tokens": 2,
        "messages": QUESTION,
        "thinking": {"type": "disabled"},
        "chat_template_kwargs": {"other": 1},
    }
    assert server.http.post("/v1/messages", json=body).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        *({name: value} for name in ("input", "tools", "text", "metadata") for value in EMPTY),
        {"input": None},
        {"input": [None]},
        {"input": [[]]},
        {"input": [{}]},
        {"input": [{"type": None, "role": "user", "content": "x"}]},
        {"input": [{"role": "tool", "content": "x"}]},
        {"input": [{"role": "user", "content": []}]},
        {"input": [{"role": "user", "content": [{"type": "input_text"}]}]},
        {"input": [{"type": "reasoning"}]},
        {"input": [{**CALL, "arguments": "{"}]},
        {"input": [{**CALL, "arguments": ""}, *QUESTION]},
        {"input": [{"type": "function_call_output", "call_id": "x", "output": []}]},
        {"input": "\0"},
        {"input": ["x"] * 3000},
        {"tools": [None]},
        {"tools": [{}]},
        {"tools": [{"type": ["function"]}]},
        {"tools": [{"type": "namespace", "name": "a", "tools": []}]},
        {"tools": [{"type": "namespace", "name": "a", "tools": [{"type": "web_search"}]}]},
        {"tools": [], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}},
        {"tools": [OF_RESPONSES], "tool_choice": {"type": "allowed_tools"}},
        {"tools": [OF_RESPONSES], "tool_choice": {"type": "web_search"}},
        {"text": {"format": {"type": "json_schema"}}},
        {"text": {"format": {"type": "grammar"}}},
        {"include": [1]},
        {"top_logprobs": 21},
        {"stream": "yes"},
    ],
)
def test_hostile_bodies_get_an_answer(server: AppServer, body: dict[str, Any]) -> None:
    for path in ("/v1/responses", "/v1/responses/input_tokens"):
        answer = server.http.post(
            path, json={"model": MODEL, "input": "Hi", "max_output_tokens": 1, **body}
        )
        assert answer.status_code in (200, 400), answer.text


@pytest.mark.parametrize(
    "fields",
    [
        *({name: value} for name in ("system", "tools", "thinking") for value in EMPTY),
        {"system": [None]},
        {"messages": [None]},
        {"messages": [{"role": "user", "content": None}]},
        {"messages": [{"role": "user", "content": []}]},
        {"messages": [{"role": "user", "content": [{}]}]},
        {"messages": [{"role": "user", "content": [{"type": ["text"]}]}]},
        {"messages": [{"role": "assistant", "content": []}]},
        {"messages": [{"role": "system", "content": [{"type": "tool_result"}]}]},
        {"messages": [*QUESTION, {"role": "assistant", "content": [{"type": "text", "text": ""}]}]},
        *(
            {"messages": [{"role": "user", "content": [{"type": kind, "source": source}]}]}
            for kind in ("image", "document")
            for source in SOURCES
        ),
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x"}]}]},
        {"tools": [{"type": "custom"}]},
        {"tools": [{"type": 1}]},
        {"tool_choice": {"type": "none"}},
        {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        {"tool_choice": {"type": "tool", "name": "x"}},
        {"stop_sequences": []},
        {"stop_sequences": [""]},
        {"metadata": {"user_id": None}},
        {"cache_control": None},
        {"chat_template_kwargs": []},
    ],
)
def test_hostile_messages_get_an_answer(server: AppServer, fields: dict[str, Any]) -> None:
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        body = {"model": MODEL, "max_tokens": 1, "messages": QUESTION, **fields}
        answer = server.http.post(path, json=body)
        assert answer.status_code in (200, 400), answer.text
        if answer.status_code == 400:
            assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages"])
def test_a_fault_of_ours_is_no_upstreams(
    server: AppServer, monkeypatch: pytest.MonkeyPatch, path: str, *, stream: bool
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("secret")

    for owner in (MessageAnswer, ResponseAnswer):
        monkeypatch.setattr(owner, "whole", fail)
    for streamed in (MessageStream, ResponseStream):
        monkeypatch.setattr(streamed, "chunk", fail)
    asked = {"messages": QUESTION, "max_tokens": 5} if "messages" in path else {"input": "Hi"}
    answer = server.http.post(path, json={"model": MODEL, **asked, "stream": stream})
    assert "upstream" not in answer.text
    assert "secret" not in answer.text
    if stream:
        assert answer.text.count("event: error") == 1
    else:
        assert answer.status_code == 500
        kind = "api_error" if "messages" in path else "server_error"
        assert answer.json()["error"]["type"] == kind
