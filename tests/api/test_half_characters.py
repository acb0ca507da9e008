"""Half a character in JSON (``"\\ud83d"``), which JavaScript makes when it cuts an emoji."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.test_errors import error_of
from tests.api.tools import WEATHER
from tests.server import CAPITAL, Server

HALF = "Hi \ud83d"
FUNCTION = WEATHER["function"]
CHAT: list[dict[str, Any]] = [
    *({"messages": [{"role": role, "content": HALF}]} for role in ("system", "user", "assistant")),
    {"messages": [{"role": "user", "content": [{"type": "text", "text": HALF}]}]},
    {"messages": [{"role": HALF, "content": "Hi"}]},
    {"messages": [{**CAPITAL[0], "name": HALF}]},
    {"messages": [{**CAPITAL[0], HALF: "extra"}]},
    {"messages": [*CAPITAL, {"role": "assistant", "content": None, "refusal": HALF}]},
    {"messages": [*CAPITAL, {"role": "assistant", "content": "", "reasoning_content": HALF}]},
    {"messages": [{"role": "tool", "tool_call_id": HALF, "content": HALF}]},
    {"metadata": {"a": HALF}},
    {"metadata": {HALF: "a"}, "store": True},
    {"stop": HALF},
    {"stop": [HALF]},
    {"user": HALF},
    {"model": HALF},
    {"tools": [{"type": "function", "function": {**FUNCTION, "description": HALF}}]},
    {"tools": [{"type": "function", "function": {**FUNCTION, "name": HALF}}]},
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"title": HALF}}}]},
    {"response_format": {"type": "json_object", "schema": {"enum": [HALF]}}},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {HALF: 1}}}},
    {"json_schema": {"const": HALF}},
    {"regex": HALF},
    {"grammar": HALF},
    {"logit_bias": {HALF: 1}},
    {"chat_template_kwargs": {"a": [HALF]}},
    {"reasoning_effort": HALF},
    {"dry_sequence_breakers": [HALF]},
    {"prediction": {"type": "content", "content": HALF}},
    {HALF: 1},
]
REQUESTS = [
    *(("/v1/chat/completions", {"messages": CAPITAL, **fields}) for fields in CHAT),
    *(("/v1/chat/completions", {"messages": CAPITAL, **fields, "stream": True}) for fields in CHAT),
    *(("/apply-template", {"messages": CAPITAL, **fields}) for fields in CHAT),
    ("/v1/completions", {"prompt": HALF}),
    ("/v1/completions", {"prompt": [HALF, "a"]}),
    ("/v1/completions", {"prompt": "a", "stop": HALF}),
    ("/completion", {"prompt": HALF}),
    ("/completion", {"prompt": [1, HALF]}),
    ("/completion", {"prompt": {"prompt_string": HALF}}),
    ("/completion", {"prompt": "a", "logit_bias": [[HALF, 1]]}),
    ("/completion", {"prompt": "a", "stop": [HALF]}),
    ("/completion", {"prompt": "a", "response_fields": [HALF]}),
    ("/tokenize", {"content": HALF}),
    ("/tokenize", {"content": [HALF, 1]}),
    ("/detokenize", {"tokens": [HALF]}),
]


@pytest.mark.parametrize(("path", "body"), REQUESTS, ids=str)
def test_is_no_text_in_any_field(server: Server, path: str, body: dict[str, Any]) -> None:
    response = server.http.post(path, content=json.dumps(body))

    assert response.status_code == 400
    assert error_of(response)["code"] == "invalid_json"


def test_is_no_text_in_the_metadata_of_what_is_stored(server: Server) -> None:
    path = "/v1/chat/completions"
    stored = server.chat(max_tokens=1, store=True).json()["id"]
    try:
        response = server.http.post(
            f"{path}/{stored}", content=json.dumps({"metadata": {"a": HALF}})
        )
        assert (response.status_code, error_of(response)["code"]) == (400, "invalid_json")
    finally:
        server.http.delete(f"{path}/{stored}")
    for name in ("metadata[a]", "model", "after"):
        assert server.http.get(f"{path}?{name}=%ED%A0%BD").status_code < 500
    assert server.http.get(f"{path}/%ED%A0%BD").status_code == 404


def test_whole_characters_in_two_escapes_are_text(server: Server) -> None:
    response = server.http.post("/tokenize", content=r'{"content": "\ud83d\ude00"}')

    tokens = response.json()["tokens"]
    assert server.post("/detokenize", {"tokens": tokens}).json()["content"] == "😀"
