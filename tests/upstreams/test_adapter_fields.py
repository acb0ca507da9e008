"""docs/upstreams.md: which fields are sent in OpenAI's dialect, and which are answered."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from shared.protocol.openai.chat_completions import ChatCompletionRequest
from shared.protocol.openai.completions import CompletionRequest
from tests.app_server import AppServer
from tests.server import CAPITAL
from tests.upstreams.fake_upstream import FakeUpstream, completion, stream, whole

pytestmark = pytest.mark.integration

PAGE = Path(__file__).parents[2] / "docs" / "upstreams.md"
_CODE = re.compile(r"`([^`]+)`")


def table(title: str) -> dict[str, str]:
    """What the table below the heading ``title`` says of each field."""
    section = PAGE.read_text().split(f"### {title}\n")[1].split("\n#")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return {name: rest[0] for first, *rest in rows for name in _CODE.findall(first)}


SENT = table("What is sent in OpenAI's dialect")
ANSWERED = table("What is answered in OpenAI's dialect")

_FUNCTION = {"name": "get", "parameters": {"type": "object", "default": None}}
_TOOL = {"type": "function", "function": _FUNCTION}
_TEXT_ONLY = ("prompt", "suffix", "echo", "best_of")
VALUES: dict[str, Any] = {
    "messages": CAPITAL,
    "prompt": [[1, 2], [3]],
    "suffix": "end",
    "echo": True,
    "best_of": 2,
    "stop": ["a", "b"],
    "logit_bias": {"7": -100},
    "logprobs": True,
    "top_logprobs": 2,
    "tools": [_TOOL],
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "functions": [_FUNCTION],
    "function_call": {"name": "get"},
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "a", "schema": {"type": "object", "default": None}},
    },
    "reasoning_effort": "high",
    "verbosity": "low",
    "prediction": {"type": "content", "content": "x"},
    "modalities": ["text"],
    "user": "u",
    "safety_identifier": "s",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "prompt_cache_options": {"ttl": "1h"},
    "dry_sequence_breakers": ["x"],
    "mirostat": 1,
    "ignore_eos": True,
    "cache_prompt": False,
    "chat_template_kwargs": {"a": None},
    "add_generation_prompt": False,
    "continue_final_message": True,
    "stream_options": {"include_usage": False},
    "metadata": {"a": "b"},
    "json_schema": {"type": "object"},
    "grammar": 'root ::= "a"',
    "regex": "a",
    "timings_per_token": True,
    "verbose": True,
    "return_progress": True,
    "audio": {},
    "web_search_options": {},
    "moderation": {},
    "service_tier": "flex",
    "store": True,
    "stream": True,
}
_NEEDS: dict[str, dict[str, Any]] = {
    "top_logprobs": {"logprobs": True},
    "tool_choice": {"tools": [_TOOL]},
    "parallel_tool_calls": {"tools": [_TOOL]},
    "function_call": {"functions": [_FUNCTION]},
    "stream_options": {"stream": True},
}


def body_with(name: str) -> tuple[str, dict[str, Any]]:
    """A path, and a body for it with the field ``name``."""
    path: str = "/v1/chat/completions"
    body: dict[str, Any] = {"messages": CAPITAL}
    if name in _TEXT_ONLY:
        path, body = "/v1/completions", {"prompt": "Once"}
    value = VALUES.get(name, 1)
    return path, {"model": "big", **body, **_NEEDS.get(name, {}), name: value}


def test_every_field_has_a_row() -> None:
    fields = {*ChatCompletionRequest.attributes(), *CompletionRequest.attributes()}
    assert SENT.keys() == fields


@pytest.mark.parametrize("name", [name for name in SENT if name != "model"])
def test_a_field_becomes_what_its_row_says(
    adapter: AppServer, upstream: FakeUpstream, name: str
) -> None:
    path, body = body_with(name)
    answer = completion()
    answer["choices"][0]["text"] = "Paris"
    upstream.answer = whole(answer)
    if body.get("stream"):
        upstream.answer = stream(b"data: [DONE]\n\n")
    found = adapter.http.post(path, json=body)
    if SENT[name].startswith("refused"):
        assert (found.status_code, found.json()["error"]["param"]) == (400, name)
        assert not upstream.received
        return
    assert found.status_code == 200, found.text
    assert "x-ignored-params" not in found.headers
    sent = json.loads(upstream.received[0].body)
    assert sent["model"] == "big-2026"
    if SENT[name].startswith("not sent"):
        assert name not in sent or sent[name] == {"include_usage": True}
    elif SENT[name].startswith("sent as"):
        assert name not in sent
        assert sent["response_format"]["json_schema"]["schema"] == body[name]
    else:
        assert SENT[name].startswith("passed on")
        assert sent[name] == body[name]


def test_modalities_other_than_text_are_refused(adapter: AppServer, upstream: FakeUpstream) -> None:
    answer = adapter.chat(model="big", modalities=["text", "audio"])
    assert answer.json()["error"]["param"] == "modalities"
    assert not upstream.received


_CALL = {"id": "a", "type": "function", "function": {"name": "get", "arguments": "{}"}}
_LOGPROB = {"token": "a", "logprob": -1.0, "bytes": [97]}
MESSAGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "content": ({"content": "Hi"}, {"content": "Hi"}),
    "refusal": ({"refusal": "No"}, {"refusal": "No"}),
    "reasoning_content": ({"reasoning": "Hm"}, {"reasoning_content": "Hm"}),
    "tool_calls": ({"tool_calls": [_CALL]}, {"tool_calls": [_CALL]}),
    "annotations": ({"content": "Hi", "annotations": [{}], "audio": {}}, {"content": "Hi"}),
}
"""Fields of a message of the upstream's, and of the answer's."""
CHOICES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "logprobs": (
        {"logprobs": {"content": [{**_LOGPROB, "id": 1, "top_logprobs": [_LOGPROB]}]}},
        {"logprobs": {"content": [{**_LOGPROB, "top_logprobs": [_LOGPROB]}], "refusal": None}},
    ),
    "finish_reason": ({"finish_reason": "content_filter"}, {"finish_reason": "content_filter"}),
    "finish_reason ": ({"finish_reason": "eos"}, {"finish_reason": "stop"}),
}
TOPS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "service_tier": ({"service_tier": "flex"}, {"service_tier": "flex"}),
    "system_fingerprint": ({"system_fingerprint": "fp"}, {"system_fingerprint": "fp"}),
    "usage": (
        {"usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 9, "x": 1}},
        {
            "usage": {
                "prompt_tokens": 3,
                "completion_tokens": 6,
                "total_tokens": 9,
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                "completion_tokens_details": {
                    "reasoning_tokens": 0,
                    "audio_tokens": 0,
                    "accepted_prediction_tokens": 0,
                    "rejected_prediction_tokens": 0,
                },
            }
        },
    ),
}
_ELSEWHERE = {"id", "created", "model", "object", "text", "function_call", "usage.cost"}
"""Rows that other tests drive: those of the answer's form, of text, of functions and of prices."""


def test_every_field_of_an_answer_is_driven() -> None:
    driven = {name.strip() for name in (*MESSAGES, *CHOICES, *TOPS)}
    assert ANSWERED.keys() == driven | _ELSEWHERE


@pytest.mark.parametrize("name", [*MESSAGES, *CHOICES, *TOPS])
def test_a_field_of_the_answer(adapter: AppServer, upstream: FakeUpstream, name: str) -> None:
    told, expected = {**MESSAGES, **CHOICES, **TOPS}[name]
    answer = completion()
    choice = answer["choices"][0]
    if name in MESSAGES:
        choice["message"] = {"role": "assistant", **told}
    elif name in CHOICES:
        choice.update(told)
    else:
        answer.update(told)
    upstream.answer = whole(answer)
    data = adapter.chat(model="big").json()
    if name in MESSAGES:
        message = {"role": "assistant", "content": None, "refusal": None, **expected}
        if name == "reasoning_content":
            message["content"] = ""
        assert data["choices"][0]["message"] == message
    else:
        found = data["choices"][0] if name in CHOICES else data
        assert {key: found[key] for key in expected} == expected
    for absent in {"service_tier", "system_fingerprint"} - {name}:
        assert absent not in data
