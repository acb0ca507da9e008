"""Stored responses: what is fetched is what was answered, whatever was asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.protocol.openai.responses.requests import ResponsesRequest
from tests.api.responses import MODEL, QUESTION, WEATHER
from tests.app_server import AppServer

REGEX = {"type": "grammar", "syntax": "regex", "definition": "yes|no"}
CUSTOM = {"type": "custom", "name": "run", "description": "Runs.", "format": REGEX}
NAMESPACE = {"type": "namespace", "name": "web", "tools": [WEATHER, CUSTOM]}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
FORM = {"type": "json_schema", "name": "city", "schema": SCHEMA, "strict": True}
REQUESTS: dict[str, dict[str, Any]] = {
    "text": {"max_output_tokens": 4},
    "instructions": {"instructions": "Be brief."},
    "items": {
        "input": [
            {"role": "developer", "content": "Rhyme."},
            {"role": "user", "content": [{"type": "input_text", "text": QUESTION}]},
            {
                "type": "reasoning",
                "summary": [],
                "content": [{"type": "reasoning_text", "text": "?"}],
            },
            {"type": "function_call", "call_id": "1", "name": "get_weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "1", "output": "Sunny."},
        ],
        "tools": [WEATHER],
        "tool_choice": "none",
    },
    "function": {
        "tools": [WEATHER],
        "tool_choice": {"type": "function", "name": "get_weather"},
        "parallel_tool_calls": False,
        "max_tool_calls": 3,
    },
    "custom tool": {"tools": [CUSTOM], "tool_choice": {"type": "custom", "name": "run"}},
    "namespace": {"tools": [CUSTOM, NAMESPACE], "tool_choice": "required"},
    "hosted tool": {"tools": [{"type": "web_search", "size": 3}, WEATHER]},
    "allowed tools": {
        "tools": [WEATHER, CUSTOM],
        "tool_choice": {
            "type": "allowed_tools",
            "mode": "required",
            "tools": [{"type": "custom", "name": "run"}],
        },
    },
    "format": {"text": {"format": FORM, "verbosity": "low"}},
    "log probabilities": {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
    "sampling": {"temperature": 0.5, "top_p": 0.5, "seed": 1},
    "reasoning": {"reasoning": {"effort": "low", "summary": "auto"}},
    "labels": {
        "metadata": {"run": "7"},
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "prompt_cache_options": {"mode": "implicit"},
        "service_tier": "flex",
        "truncation": "disabled",
        "stream_options": {"include_obfuscation": False},
    },
}
NOT_ASKED = {"background", "conversation", "moderation", "prompt"}
"""What is refused, or tested elsewhere."""


def answered(server: AppServer, fields: dict[str, Any], *, stream: bool) -> dict[str, Any]:
    """The response, or the one that a stream ends with."""
    body = {"model": MODEL, "input": QUESTION, "temperature": 0, "max_output_tokens": 60}
    if stream:
        body["stream"] = True
    else:
        fields = {name: value for name, value in fields.items() if name != "stream_options"}
    answer = server.http.post("/v1/responses", json={**body, "store": True, **fields})
    assert answer.status_code == 200, answer.text
    if not stream:
        found: dict[str, Any] = answer.json()
        return found
    last = answer.text.strip().rpartition("data: ")[2]
    response: dict[str, Any] = json.loads(last)["response"]
    return response


def test_every_field_is_asked_for() -> None:
    asked = {name for fields in REQUESTS.values() for name in fields}
    always = {"model", "input", "store", "stream", "temperature", "previous_response_id"}
    assert set(ResponsesRequest.model_fields) - NOT_ASKED == (asked | always) - {"seed"}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fields", REQUESTS.values(), ids=REQUESTS)
def test_what_is_fetched_was_answered(
    server: AppServer, fields: dict[str, Any], *, stream: bool
) -> None:
    first = answered(server, fields, stream=stream)
    assert server.http.get(f"/v1/responses/{first['id']}").json() == first
    again = {"previous_response_id": first["id"], "max_output_tokens": 2}
    second = answered(server, again, stream=stream)
    assert second["previous_response_id"] == first["id"]
    assert server.http.get(f"/v1/responses/{second['id']}").json() == second
