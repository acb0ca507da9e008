"""Answers arrive before the platform ends their requests, with what there is by then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.api.openai_types import chat_chunks, chat_completion
from tests.e2e.deadlines import (
    CHAT,
    LATE,
    LONG,
    REACHED,
    SOON,
    TEXT,
    choice_of,
    lines_of,
    post,
    server_with_deadlines,
)
from tests.server import CAPITAL

ENDPOINTS = [
    pytest.param("/v1/chat/completions", CHAT, id="chat"),
    pytest.param("/v1/completions", TEXT, id="text"),
    pytest.param("/completion", TEXT, id="llama.cpp"),
]


@pytest.fixture(scope="module")
def http() -> Iterator[httpx2.Client]:
    """A client of the server."""
    with server_with_deadlines(store="none") as client:
        yield client


@pytest.mark.slow
@pytest.mark.sweep(1)
@pytest.mark.parametrize(("path", "body"), ENDPOINTS)
def test_a_long_answer_ends_in_time_with_what_there_is(
    http: httpx2.Client, path: str, body: dict[str, Any]
) -> None:
    response = post(http, path, SOON, {**body, **LONG})

    assert response.headers["x-deadline"] == "reached"
    assert choice_of(response)["finish_reason"] == "length"
    assert 0 < response.json()["usage"]["completion_tokens"] < 2000


@pytest.mark.slow
@pytest.mark.sweep(1)
@pytest.mark.parametrize(("path", "body"), ENDPOINTS)
def test_a_stream_says_so_before_its_end(
    http: httpx2.Client, path: str, body: dict[str, Any]
) -> None:
    response = post(http, path, SOON, {**body, **LONG}, stream=True)

    lines = lines_of(response)
    assert lines.count(REACHED) == 1
    assert "x-deadline" not in response.headers
    ending, after = lines[lines.index(REACHED) - 1], lines[lines.index(REACHED) + 1 :]
    assert json.loads(ending.removeprefix("data: "))["choices"][0]["finish_reason"] == "length"
    assert after == ([] if path == "/completion" else ["data: [DONE]"])


@pytest.mark.slow
def test_llama_cpps_clients_see_a_limit_and_no_full_context(http: httpx2.Client) -> None:
    response = post(http, "/completion", SOON, {**TEXT, "n_predict": 2000, "ignore_eos": True})

    answer = response.json()
    assert (answer["stop_type"], answer["truncated"]) == ("limit", False)
    assert 0 < answer["tokens_predicted"] < 2000


@pytest.mark.parametrize(("path", "body"), ENDPOINTS)
def test_a_deadline_in_the_past_gives_an_empty_answer(
    http: httpx2.Client, path: str, body: dict[str, Any]
) -> None:
    response = post(http, path, LATE, {**body, **LONG})

    assert response.headers["x-deadline"] == "reached"
    choice = choice_of(response)
    assert choice["finish_reason"] == "length"
    text = choice["message"]["content"] if path.endswith("chat/completions") else choice["text"]
    assert text == ""
    assert response.json()["usage"]["completion_tokens"] == 0


@pytest.mark.parametrize(("path", "body"), ENDPOINTS)
def test_a_stream_whose_deadline_is_past_has_its_beginning_and_its_end(
    http: httpx2.Client, path: str, body: dict[str, Any]
) -> None:
    lines = lines_of(post(http, path, LATE, {**body, **LONG}, stream=True))

    assert REACHED in lines
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    reasons = [event["choices"][0]["finish_reason"] for event in events]
    assert reasons[-1] == "length"


def test_an_empty_answer_is_valid_where_tools_and_reasoning_are_looked_for(
    http: httpx2.Client,
) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    body = {**CHAT, "tools": [tool], "tool_choice": "required", "logprobs": True, "n": 2}

    whole = chat_completion(post(http, "/v1/chat/completions", LATE, body).content)
    stream = post(http, "/v1/chat/completions", LATE, body, stream=True).text
    chunks = chat_chunks(stream.replace(f"{REACHED}\n\n", ""))

    assert [choice.finish_reason for choice in whole.choices] == ["length", "length"]
    ended = [c.choices[0] for c in chunks if c.choices and c.choices[0].finish_reason]
    assert [choice.finish_reason for choice in ended] == ["length", "length"]


@pytest.mark.parametrize(
    "fields",
    [
        {"echo": True, "logprobs": 1, "max_tokens": 0},
        {"echo": True, "logprobs": 1, "n": 2},
        {"n": 2, "best_of": 3},
        {"prompt": ["One", "Two", "Three"]},
        {"logprobs": 2, "stop": ["."]},
    ],
    ids=["scores", "echo", "best_of", "prompts", "logprobs"],
)
def test_every_kind_of_text_completion_may_have_its_deadline_behind_it(
    http: httpx2.Client, fields: dict[str, Any]
) -> None:
    body = {**TEXT, **fields}

    whole = post(http, "/v1/completions", LATE, body)

    assert whole.headers["x-deadline"] == "reached"
    choices = whole.json()["choices"]
    assert len(choices) == fields.get("n", 1) * len(fields.get("prompt", "1"))
    assert {choice["finish_reason"] for choice in choices} == {"length"}
    echo = TEXT["prompt"] if "echo" in fields else ""
    assert {choice["text"] for choice in choices} == {echo}
    if "best_of" not in fields:
        stream = lines_of(post(http, "/v1/completions", LATE, body, stream=True))
        assert stream[-2:] == [REACHED, "data: [DONE]"]


@pytest.mark.slow
def test_a_request_that_never_left_the_queue_ends_in_time(http: httpx2.Client) -> None:
    story = {**CHAT, **LONG, "max_tokens": 4000, "stream": True}
    with http.stream("POST", "/v1/chat/completions", json=story) as running:
        lines = running.iter_lines()
        next(lines)

        response = post(http, "/v1/completions", SOON, TEXT)

    assert response.headers["x-deadline"] == "reached"
    assert (choice_of(response)["finish_reason"], choice_of(response)["text"]) == ("length", "")


def test_an_answer_with_time_enough_says_nothing_of_deadlines(http: httpx2.Client) -> None:
    whole = post(http, "/v1/chat/completions", 60, {"messages": CAPITAL}, max_tokens=1)
    stream = post(http, "/v1/chat/completions", 60, {"messages": CAPITAL}, stream=True)

    assert choice_of(whole)["finish_reason"] == "length"
    assert "x-deadline" not in whole.headers
    assert "x-deadline" not in stream.text


@pytest.mark.parametrize("is_streamed", [False, True])
def test_other_dialects_say_that_the_deadline_is_past(
    http: httpx2.Client, *, is_streamed: bool
) -> None:
    asked = {"input": "Tell me a story", "stream": is_streamed}
    response = post(http, "/v1/responses", LATE, asked)
    asked = {**CHAT, "max_tokens": 100, "stream": is_streamed}
    message = post(http, "/v1/messages", LATE, asked)
    if is_streamed:
        lines, others = lines_of(response), lines_of(message)
        assert REACHED in lines
        assert REACHED in others
        told = json.loads(lines[-1].removeprefix("data: "))["response"]
        ended = json.loads(others[-3].removeprefix("data: "))["delta"]
        assert others[-1] == 'data: {"type":"message_stop"}'
    else:
        assert response.headers["x-deadline"] == message.headers["x-deadline"] == "reached"
        told, ended = response.json(), message.json()
        assert ended["content"] == []
    assert (told["status"], told["usage"]["output_tokens"]) == ("incomplete", 0)
    assert told["incomplete_details"] == {"reason": "max_output_tokens"}
    assert ended["stop_reason"] == "max_tokens"
