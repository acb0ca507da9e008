"""Adapter mode: requests translated, and whole answers in this project's form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.app_server import AppServer
from tests.upstreams.adapter import CHAT, DONE, MESSAGES, TEXT, USAGE, ask, end, event, events, sent
from tests.upstreams.conftest import KEY
from tests.upstreams.fake_upstream import (
    STREAM_HEAD,
    FakeUpstream,
    chunk,
    completion,
    delta,
    stalls,
    stream,
    whole,
)

pytestmark = pytest.mark.integration


def test_a_whole_answer_is_one_of_this_projects(adapter: AppServer, upstream: FakeUpstream) -> None:
    upstream.answer = whole(completion(service_tier="flex", system_fingerprint="fp", usage=USAGE))
    answer = ask(adapter)
    data = answer.json()
    assert answer.headers["x-pilotlight-served-by"] == f"127.0.0.1:{upstream.port}"
    assert data.pop("id").startswith("chatcmpl-0")
    assert data.pop("created") > 1
    details = data["usage"].pop("completion_tokens_details")
    assert details["reasoning_tokens"] == 4
    assert data == {
        "object": "chat.completion",
        "model": "big",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Paris", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 20,
            "completion_tokens": 7,
            "total_tokens": 27,
            "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0},
        },
        "service_tier": "flex",
        "system_fingerprint": "fp",
    }


def test_a_large_answer(adapter: AppServer, upstream: FakeUpstream) -> None:
    upstream.answer = whole(completion("x" * 2**20))
    assert ask(adapter).json()["choices"][0]["message"]["content"] == "x" * 2**20


def test_a_request_has_the_key_and_nothing_of_the_callers_headers(
    adapter: AppServer, upstream: FakeUpstream
) -> None:
    upstream.answer = whole(completion())
    ask(adapter, temperature=0.5, metadata={"a": "b"}, foo=1, stop=None)
    (received,) = upstream.received
    assert received.line == "POST /v1/chat/completions HTTP/1.1"
    assert received.headers["authorization"] == f"Bearer {KEY}"
    assert received.headers["user-agent"] == "pilotlight"
    assert received.headers["accept"] == "application/json"
    body = json.loads(received.body)
    assert body == {"model": "big-2026", "messages": MESSAGES, "temperature": 0.5}


def test_unknown_fields_are_named_and_not_sent(adapter: AppServer, upstream: FakeUpstream) -> None:
    upstream.answer = whole(completion())
    part = {"type": "text", "text": "Hi", "cache_control": {}}
    answer = ask(adapter, messages=[{"role": "user", "content": [part]}], foo=1)
    assert answer.headers["x-ignored-params"] == "foo, messages[0].content[0].cache_control"
    assert sent(upstream) == {
        "model": "big-2026",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    }


def test_defaults_hold_where_the_request_says_nothing(
    adapter: AppServer, upstream: FakeUpstream
) -> None:
    upstream.answer = whole(completion())
    ask(adapter, model="mild", temperature=0)
    body = sent(upstream)
    assert (body["temperature"], body["max_tokens"], body["seed"]) == (0, 9, 5)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": None}, "messages", "invalid_type"),
        ({"n": 129}, "n", "invalid_value"),
        ({"stream_options": {}}, "stream_options", "invalid_value"),
        ({"top_logprobs": 1}, "top_logprobs", "invalid_value"),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"modalities": ["audio"]}, "modalities", "unsupported_modality"),
        ({"guided_json": {}}, "guided_json", "unsupported_parameter"),
        ({"grammar": 'root ::= "a"'}, "grammar", "unsupported_parameter"),
        ({"timings_per_token": True}, "timings_per_token", "unsupported_parameter"),
        ({"web_search_options": {}}, "web_search_options", "unsupported_parameter"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0]",
            "invalid_value",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "video", "video": {}}]}]},
            "messages[0].content[0]",
            "unsupported_content",
        ),
        ({"messages": [{"role": "user", "content": "x" * 2**20}]}, "messages", "content_too_large"),
    ],
)
def test_what_the_model_here_would_refuse_is_refused_here(
    adapter: AppServer, upstream: FakeUpstream, fields: dict[str, Any], param: str, code: str
) -> None:
    answer = ask(adapter, **fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, code)
    assert not upstream.received


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1"}},
    ],
)
def test_media_pass_to_upstreams_alone(
    adapter: AppServer, upstream: FakeUpstream, part: dict[str, Any]
) -> None:
    upstream.answer = whole(completion())
    messages = [{"role": "user", "content": [part, {"type": "text", "text": "What is it?"}]}]
    answer = ask(adapter, messages=messages)
    assert answer.status_code == 200
    assert "x-ignored-params" not in answer.headers
    assert sent(upstream)["messages"] == messages
    refused = adapter.chat(messages=messages)
    assert refused.json()["error"]["code"] == "unsupported_content"


def test_tool_calls(adapter: AppServer, upstream: FakeUpstream) -> None:
    function = {"name": "get", "arguments": ""}
    upstream.answer = stream(
        event([{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": function}]}}]),
        event(
            [
                {
                    "index": 0,
                    "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
                }
            ]
        ),
        end("stop"),
        DONE,
    )
    tool: Any = {"type": "function", "function": {"name": "get", "parameters": {"type": "object"}}}
    with adapter.openai().chat.completions.create(
        model="big", messages=MESSAGES, stream=True, tools=[tool], tool_choice="auto"
    ) as chunks:
        found = [each.choices[0] for each in chunks]
    assert sent(upstream)["tools"] == [tool]
    assert found[0].delta.content is None
    first, second = (each.delta.model_dump()["tool_calls"][0] for each in found[1:3])
    assert first["id"].startswith("call_")
    assert first["function"] == {"name": "get", "arguments": ""}
    assert (second["id"], second["function"]) == (None, {"arguments": "{}", "name": None})
    assert found[-1].finish_reason == "tool_calls"


@pytest.mark.parametrize("streams", [False, True])
def test_functions_are_answered_in_the_older_form(
    adapter: AppServer, upstream: FakeUpstream, streams: bool
) -> None:
    called = {"name": "get", "arguments": "{}"}
    message = {"role": "assistant", "content": None, "function_call": called}
    choice = {"index": 0, "finish_reason": "function_call"}
    upstream.answer = whole(completion(choices=[{**choice, "message": message}]))
    if streams:
        upstream.answer = stream(event([{**choice, "delta": message}]), DONE)
    fields: dict[str, Any] = {"functions": [{"name": "get"}], "function_call": {"name": "get"}}
    if streams:
        found = [each["choices"][0] for each in events(adapter, **fields)[:-1]]
        assert found[1]["delta"] == {"function_call": called}
        assert found[-1]["finish_reason"] == "function_call"
    else:
        found = ask(adapter, **fields).json()["choices"]
        assert found[0]["message"]["function_call"] == called
        assert found[0]["finish_reason"] == "function_call"
    assert sent(upstream)["function_call"] == {"name": "get"}


def test_refusals_and_log_probabilities(adapter: AppServer, upstream: FakeUpstream) -> None:
    token = {"token": "No", "logprob": -0.5, "bytes": [78, 111], "top_logprobs": []}
    logprobs = {"content": None, "refusal": [token]}
    message = {"role": "assistant", "content": None, "refusal": "No"}
    choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": "stop"}
    upstream.answer = whole(completion(choices=[choice]))
    found = ask(adapter, logprobs=True).json()["choices"]
    assert found == [choice]


def test_text_completions(adapter: AppServer, upstream: FakeUpstream) -> None:
    logprobs = {
        "tokens": ["a"],
        "token_logprobs": [-1.0],
        "top_logprobs": [{"a": -1.0}],
        "text_offset": [0],
    }
    choices = [
        {"index": i, "text": "a", "logprobs": logprobs, "finish_reason": "length"} for i in (0, 1)
    ]
    upstream.answer = whole({"choices": choices, "usage": USAGE})
    body = {"model": "big", "prompt": ["x", "y"], "logprobs": 1, "max_tokens": 1}
    data = adapter.http.post(TEXT, json=body).json()
    assert upstream.received[0].line == "POST /v1/completions HTTP/1.1"
    assert sent(upstream)["prompt"] == ["x", "y"]
    assert data["id"].startswith("cmpl-")
    assert (data["object"], data["choices"]) == ("text_completion", choices)


@pytest.mark.parametrize("streams", [False, True])
def test_what_goes_wrong_before_has_a_status(
    adapter: AppServer, upstream: FakeUpstream, streams: bool
) -> None:
    said = {"message": "Slow down", "type": "tokens", "code": "too_fast"}
    upstream.answer = whole({"error": said}, 429, retry_after="7")
    answer = ask(adapter, stream=streams)
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "7"
    assert answer.headers["x-pilotlight-served-by"]
    assert answer.json()["error"]["upstream"] == {"status": 429, "error": said}
    assert ask(adapter, model="closed", stream=streams).status_code == 502
    upstream.answer = stalls()
    assert ask(adapter, model="hasty", stream=streams).status_code == 504


@pytest.mark.parametrize("streams", [False, True])
def test_answers_are_bounded(adapter: AppServer, upstream: FakeUpstream, streams: bool) -> None:
    upstream.answer = whole(completion("x" * 2000))
    if streams:
        upstream.answer = stream(delta("x"), *[delta("x" * 100)] * 20)
        found = events(adapter, model="small-answers")
        assert found[-1]["error"]["code"] == "upstream_answer_too_large"
    else:
        answer = ask(adapter, model="small-answers")
        assert answer.json()["error"]["code"] == "upstream_answer_too_large"


def test_what_comes_at_once_is_answered_wholly(adapter: AppServer, upstream: FakeUpstream) -> None:
    upstream.answer = stream(b"".join(delta(f"{i} ") for i in range(2000)) + end() + DONE)
    found = events(adapter)
    texts = [each["choices"][0]["delta"].get("content") or "" for each in found[:-1]]
    assert "".join(texts).split() == [str(i) for i in range(2000)]


@pytest.mark.parametrize("answer", [b"<html>", b"{}", b'{"choices": []}'])
def test_what_is_no_answer_is_a_bad_gateway(
    adapter: AppServer, upstream: FakeUpstream, answer: bytes
) -> None:
    upstream.answer = whole(answer)
    found = ask(adapter)
    assert (found.status_code, found.json()["error"]["code"]) == (502, "upstream_answer_malformed")


def test_who_goes_away_ends_the_exchange(adapter: AppServer, upstream: FakeUpstream) -> None:
    upstream.answer = stalls(STREAM_HEAD, chunk(delta("Pa")))
    body = {"model": "big", "messages": MESSAGES, "stream": True}
    with adapter.client() as http, http.stream("POST", CHAT, json=body) as answer:
        assert next(answer.iter_lines()).startswith("data:")
    assert upstream.received[0].is_closed.wait(60)


def test_llama_cpps_endpoint_has_no_upstreams(adapter: AppServer, upstream: FakeUpstream) -> None:
    answer = adapter.http.post("/completion", json={"model": "big", "prompt": "Hi"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert not upstream.received


def test_keys_are_in_no_log(adapter: AppServer) -> None:
    """After all that was asked above."""
    assert KEY not in adapter.log_text()
