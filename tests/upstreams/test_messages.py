"""Anthropic's Messages API for the models of upstreams that speak OpenAI's dialect."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from anthropic import Anthropic, APIStatusError, RateLimitError
from anthropic.types import Message, TextBlock, ToolUseBlock
from openai.types.responses import ResponseFunctionToolCall

from tests.app_server import AppServer
from tests.upstreams.fake_upstream import FakeUpstream, completion, raw, stream, whole

CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "look_up", "arguments": '{"city":"Paris"}'},
}
CHUNKS: list[dict[str, Any]] = [
    {"delta": {"role": "assistant", "content": "Let me "}},
    {"delta": {"content": "look."}},
    {"delta": {"tool_calls": [{"index": 0, **CALL}]}},
    {"delta": {}, "finish_reason": "tool_calls"},
]
USAGE: dict[str, Any] = {
    "prompt_tokens": 9,
    "completion_tokens": 4,
    "total_tokens": 13,
    "prompt_tokens_details": {"cached_tokens": 5},
}


@pytest.fixture(params=["front", "adapter"])
def server(request: pytest.FixtureRequest, upstream: FakeUpstream) -> AppServer:
    """Direct mode, and adapter mode."""
    upstream.received.clear()
    server: AppServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def client(server: AppServer) -> Anthropic:
    return Anthropic(
        base_url=server.url, http_client=server.client(), api_key="unused", max_retries=0
    )


def ask(client: Anthropic, **fields: Any) -> Message:
    turn: Any = {"role": "user", "content": "Hi"}
    answer = client.messages.create(model="big", max_tokens=9, messages=[turn], **fields)
    assert isinstance(answer, Message)
    return answer


def chunks() -> bytes:
    events: list[dict[str, Any]] = [
        {"id": "chatcmpl-7", "model": "big", "choices": [{"index": 0, **choice}]}
        for choice in CHUNKS
    ]
    events.append({"id": "chatcmpl-7", "model": "big", "choices": [], "usage": USAGE})
    return b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)


def test_a_whole_answer(client: Anthropic, upstream: FakeUpstream) -> None:
    message = {"role": "assistant", "content": "Let me look.", "tool_calls": [CALL]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    upstream.answer = whole(completion(choices=[choice], usage=USAGE))
    answer = ask(client, system="Be brief.")
    text, call = answer.content
    assert isinstance(text, TextBlock)
    assert isinstance(call, ToolUseBlock)
    assert (text.text, call.name, call.input) == ("Let me look.", "look_up", {"city": "Paris"})
    assert answer.stop_reason == "tool_use"
    usage = answer.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (4, 5, 4)
    sent = json.loads(upstream.received[0].body)
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]
    assert sent["max_completion_tokens"] == 9


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_stream_wherever_it_is_cut(client: Anthropic, upstream: FakeUpstream, size: int) -> None:
    events = chunks() + b"data: [DONE]\n\n"
    upstream.answer = stream(*(events[i : i + size] for i in range(0, len(events), size)))
    turn: Any = {"role": "user", "content": "Hi"}
    with client.messages.stream(model="big", max_tokens=9, messages=[turn]) as answer:
        message = answer.get_final_message()
    text, call = message.content
    assert isinstance(text, TextBlock)
    assert isinstance(call, ToolUseBlock)
    assert (text.text, call.name, call.input) == ("Let me look.", "look_up", {"city": "Paris"})
    assert message.stop_reason == "tool_use"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (4, 4)


def test_an_upstreams_error(client: Anthropic, upstream: FakeUpstream) -> None:
    upstream.answer = whole({"error": {"message": "Slow down", "type": "x"}}, 429, retry_after="7")
    with pytest.raises(RateLimitError) as refused:
        ask(client)
    body: Any = refused.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "rate_limit_error")
    assert refused.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("end", [b"data: {broken\n\n", b""])
def test_a_stream_that_breaks_off_ends_with_an_error(
    client: Anthropic, upstream: FakeUpstream, end: bytes
) -> None:
    upstream.answer = stream(chunks() + end)
    turn: Any = {"role": "user", "content": "Hi"}
    with (
        client.messages.stream(model="big", max_tokens=9, messages=[turn]) as answer,
        pytest.raises(APIStatusError) as failed,
    ):
        answer.get_final_message()
    body: Any = failed.value.body
    assert body["error"]["type"] == "api_error"


def test_responses_of_an_upstream(server: AppServer, upstream: FakeUpstream) -> None:
    events = chunks() + b"data: [DONE]\n\n"
    upstream.answer = stream(*(events[i : i + 7] for i in range(0, len(events), 7)))
    with (
        server.openai() as client,
        client.responses.stream(model="big", input="Hi", max_output_tokens=9) as answer,
    ):
        final = answer.get_final_response()
    said, call = final.output
    assert final.output_text == "Let me look."
    assert (said.type, call.type) == ("message", "function_call")
    assert isinstance(call, ResponseFunctionToolCall)
    assert json.loads(call.arguments) == {"city": "Paris"}
    assert final.usage is not None
    assert final.usage.input_tokens_details.cached_tokens == 5


@pytest.mark.parametrize("end", [b"data: {broken\n\n", b""])
def test_a_response_that_breaks_off_fails(
    server: AppServer, upstream: FakeUpstream, end: bytes
) -> None:
    upstream.answer = stream(chunks() + end)
    body = {"model": "big", "input": "Hi", "stream": True}
    lines = server.http.post("/v1/responses", json=body).text.splitlines()
    events = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    assert events[-2:] == ["error", "response.failed"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        [1],
        completion(choices=[]),
        completion(choices=[1]),
        {"error": {"message": "Nothing today", "type": "x"}},
    ],
)
def test_an_answer_that_is_none_is_the_upstreams_error(
    server: AppServer, upstream: FakeUpstream, body: Any
) -> None:
    upstream.answer = whole(body)
    message = {"model": "big", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
    answer = server.http.post("/v1/messages", json=message)
    assert (answer.status_code, answer.json()["error"]["type"]) == (502, "api_error")
    answered = server.http.post("/v1/responses", json={"model": "big", "input": "Hi"})
    assert answered.status_code == 502
    assert answered.json()["error"]["message"] == answer.json()["error"]["message"]
    if isinstance(body, dict) and "error" in body:
        assert "Nothing today" in answer.text


@pytest.mark.parametrize(
    "choices",
    [
        [1],
        {"a": 1},
        [{"delta": "x"}],
        [{"delta": {"tool_calls": [None]}}],
        [
            {"delta": {"tool_calls": [{"index": 0, **CALL}, {"index": 1, **CALL}]}},
            {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}},
        ],
    ],
)
def test_a_stream_that_is_none_ends_with_an_error(
    front: AppServer, upstream: FakeUpstream, choices: Any
) -> None:
    events = [{"choices": [choice]} for choice in choices] if len(choices) > 1 else []
    events = events or [{"choices": choices}]
    written = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)
    upstream.answer = stream(written + b"data: [DONE]\n\n")
    turn = {"role": "user", "content": "Hi"}
    body = {"model": "big", "max_tokens": 5, "messages": [turn], "stream": True}
    answer = front.http.post("/v1/messages", json=body)
    assert (answer.status_code, answer.text.count("event: error")) == (200, 1)
    assert "message_stop" not in answer.text
    body = {"model": "big", "input": "Hi", "stream": True}
    answered = front.http.post("/v1/responses", json=body)
    assert (answered.status_code, answered.text.count("event: error")) == (200, 1)
    assert "response.completed" not in answered.text


def test_an_upstreams_error_names_the_callers_field(
    server: AppServer, upstream: FakeUpstream
) -> None:
    said = {"message": "Too long: 'messages'", "type": "invalid_request_error", "param": "messages"}
    upstream.answer = whole({"error": said}, 400)
    answer = server.http.post("/v1/responses", json={"model": "big", "input": "Hi"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input")
    assert "'input'" in answer.json()["error"]["message"]


def test_an_upstream_that_compresses_unasked(server: AppServer, upstream: FakeUpstream) -> None:
    message = {"role": "assistant", "content": "Compressed."}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = gzip.compress(json.dumps(completion(choices=[choice])).encode())
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n"
        b"content-length: %d\r\n\r\n" % len(body)
    )
    upstream.answer = raw(head + body)
    answer = server.http.post("/v1/responses", json={"model": "big", "input": "Hi"})
    if answer.status_code == 200:
        assert answer.json()["output"][0]["content"][0]["text"] == "Compressed."
    else:
        assert (answer.status_code, answer.json()["error"]["type"]) == (502, "upstream_error")


def test_upstreams_get_no_fields_of_another_dialect(
    server: AppServer, upstream: FakeUpstream
) -> None:
    upstream.answer = whole(completion())
    extra: dict[str, Any] = {"context_management": {"edits": []}}
    turn = {"role": "user", "content": "Hi"}
    message = {"model": "big", "max_tokens": 5, "messages": [turn], **extra, "speed": "fast"}
    answer = server.http.post("/v1/messages", json=message)
    response = {"model": "big", "input": "Hi", **extra, "client_metadata": {"a": "b"}}
    answered = server.http.post("/v1/responses", json=response)
    assert answer.headers["x-ignored-params"] == "context_management, speed"
    assert answered.headers["x-ignored-params"] == "client_metadata, context_management"
    for received in upstream.received:
        assert json.loads(received.body).keys() <= {"model", "messages", "max_completion_tokens"}


def test_thinking_is_left_out_where_the_upstream_has_none(
    server: AppServer, upstream: FakeUpstream
) -> None:
    upstream.answer = whole(completion())
    body = {"model": "big", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
    thinking = {"type": "enabled", "budget_tokens": 1024}
    answer = server.http.post("/v1/messages", json={**body, "thinking": thinking})
    assert answer.headers["x-ignored-params"] == "thinking"
    switches: dict[str, Any] = {"chat_template_kwargs": {"documents": []}}
    answer = server.http.post("/v1/messages", json={**body, "thinking": thinking, **switches})
    assert answer.status_code == 200
    without, with_switches = (json.loads(received.body) for received in upstream.received)
    assert without.keys() == {"model", "messages", "max_completion_tokens"}
    assert with_switches["chat_template_kwargs"] == switches["chat_template_kwargs"]


def test_an_answer_is_continued_where_the_caller_says_so(
    server: AppServer, upstream: FakeUpstream
) -> None:
    """OpenAI's API has nothing for it; vLLM's and others' have."""
    upstream.answer = whole(completion())
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Well,"}]
    body: dict[str, Any] = {"model": "big", "max_tokens": 5, "messages": turns}
    refused = server.http.post("/v1/messages", json=body)
    assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")
    assert "continue_final_message" in refused.json()["error"]["message"]
    assert not upstream.received
    answer = server.http.post("/v1/messages", json={**body, "continue_final_message": True})
    assert answer.status_code == 200
    assert json.loads(upstream.received[0].body)["continue_final_message"] is True


def test_the_background_needs_an_answer_that_is_stored(
    front: AppServer, upstream: FakeUpstream
) -> None:
    """In direct mode bytes pass, and nothing is stored here."""
    body = {"model": "big", "input": "Hi", "background": True, "store": True}
    answer = front.http.post("/v1/responses", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "background")
    assert not upstream.received


def test_grammars_in_lark_are_for_models_here(server: AppServer, upstream: FakeUpstream) -> None:
    form = {"type": "grammar", "syntax": "lark", "definition": "start: /a/"}
    tools = [{"type": "custom", "name": "run", "format": form}]
    answer = server.http.post("/v1/responses", json={"model": "big", "input": "Hi", "tools": tools})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tools[0].format")
    assert not upstream.received
