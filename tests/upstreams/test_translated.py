"""Adapter mode of Anthropic's and Bedrock's dialects, from the `openai` client to the wire."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageFunctionToolCall
from pydantic import BaseModel

from shared.upstreams.dialects import bedrock_credentials
from shared.upstreams.dialects.bedrock_credentials import AWSSigner
from tests.app_server import AppServer
from tests.server import wait_until
from tests.upstreams.conftest import KEY
from tests.upstreams.dialects import test_anthropic_answer as anthropic
from tests.upstreams.dialects import test_bedrock_answer as bedrock
from tests.upstreams.dialects.frames import exception
from tests.upstreams.dialects.request_cases import TOOL
from tests.upstreams.dialects.sigv4 import signer_of
from tests.upstreams.fake_upstream import (
    STREAM_HEAD,
    Answer,
    FakeUpstream,
    chunk,
    head,
    raw,
    stalls,
    stream,
    whole,
)

pytestmark = pytest.mark.integration

QUESTION: Any = [{"role": "user", "content": "Weather in Paris?"}]
TOOLS: Any = [TOOL]
SECRET = "wJalrXUtnFEMI/K7MDENG"
MODELS = ("claude", "nova")
FRAMES_HEAD = head(content_type="application/vnd.amazon.eventstream", transfer_encoding="chunked")


def frames(*parts: bytes) -> Answer:
    return raw(FRAMES_HEAD, *map(chunk, parts), b"0\r\n\r\n")


ANSWERS: dict[str, Callable[[], Answer]] = {
    "claude": lambda: whole(anthropic.MESSAGE),
    "nova": lambda: whole(bedrock.ANSWER),
}
STREAMS: dict[str, Callable[[], Answer]] = {
    "claude": lambda: stream(*map(anthropic.sse, anthropic.EVENTS)),
    "nova": lambda: frames(*bedrock.FRAMES),
}
JOINED = {"claude": anthropic.ANSWER, "nova": bedrock.JOINED}


@pytest.fixture(scope="module")
def translating(
    fake_upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AppServer]:
    """The app with a model of each dialect, and a store."""
    directory: Path = tmp_path_factory.mktemp("translating")
    claude = fake_upstream.section(mode="adapter", dialect="anthropic", model="claude-5-5")
    nova = fake_upstream.section(mode="adapter", dialect="bedrock", model="arn:aws:x/nova:0")
    models = {
        "claude": claude,
        "nova": {name: value for name, value in nova.items() if name != "key"},
        "nova-key": nova,
        "brief": {**claude, "defaults": {"max_tokens": 7}},
    }
    environ = {"FAKE_KEY": KEY, "PILOTLIGHT_MODELS": json.dumps(models), "AWS_REGION": "eu-west-1"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_REGION", "eu-west-1")
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_SESSION_TOKEN", "session-token")
        patch.setattr(bedrock_credentials, "signer", AWSSigner())
        store = f"sqlite:///{directory}/store.db"
        server = AppServer(directory / "log", "--store", store, environ=environ)
        yield server
        server.stop()


@pytest.fixture
def client(translating: AppServer) -> openai.OpenAI:
    return translating.openai()


def calls_of(message: Any) -> list[list[str]]:
    return [[call.id, call.function.name, call.function.arguments] for call in message.tool_calls]


@pytest.mark.parametrize("model", MODELS)
def test_a_whole_answer(client: openai.OpenAI, upstream: FakeUpstream, model: str) -> None:
    upstream.answer = ANSWERS[model]()
    answer = client.chat.completions.create(model=model, messages=QUESTION, tools=TOOLS)
    (choice,) = answer.choices
    expected = JOINED[model]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == expected.content
    assert choice.message.reasoning_content == expected.reasoning  # type: ignore[attr-defined]
    assert calls_of(choice.message) == expected.calls
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (1120, 30)
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 1000


@pytest.mark.parametrize("model", MODELS)
def test_a_stream(client: openai.OpenAI, upstream: FakeUpstream, model: str) -> None:
    upstream.answer = STREAMS[model]()
    expected = JOINED[model]
    content = reasoning = ""
    calls: list[list[str]] = []
    finish, usage = None, None
    with client.chat.completions.create(
        model=model,
        messages=QUESTION,
        tools=TOOLS,
        stream=True,
        stream_options={"include_usage": True},
    ) as chunks:
        for each in chunks:
            usage = each.usage or usage
            for choice in each.choices:
                content += choice.delta.content or ""
                reasoning += getattr(choice.delta, "reasoning_content", None) or ""
                finish = choice.finish_reason or finish
                for call in choice.delta.tool_calls or ():
                    assert call.function is not None
                    if call.index == len(calls):
                        calls.append([call.id or "", call.function.name or "", ""])
                    calls[call.index][2] += call.function.arguments or ""
    assert (content, reasoning, calls) == (expected.content, expected.reasoning, expected.calls)
    assert finish == "tool_calls"
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (1120, 30)


def test_what_anthropic_gets(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    upstream.answer = ANSWERS["claude"]()
    answer = client.chat.completions.with_raw_response.create(model="claude", messages=QUESTION)
    assert answer.headers["x-pilotlight-served-by"] == f"127.0.0.1:{upstream.port}"
    (received,) = upstream.received
    assert received.line == "POST /v1/messages HTTP/1.1"
    assert received.headers["x-api-key"] == KEY
    assert received.headers["anthropic-version"] == "2026-10-21"
    assert received.headers["content-type"] == "application/json"
    assert "authorization" not in received.headers
    body = json.loads(received.body)
    assert (body["model"], body["max_tokens"]) == ("claude-5-5", 16384)


def test_what_bedrock_gets_is_signed(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    upstream.answer = ANSWERS["nova"]()
    client.chat.completions.create(model="nova", messages=QUESTION)
    (received,) = upstream.received
    path = received.line.split(" ")[1]
    assert path == "/v1/model/arn%3Aaws%3Ax%2Fnova%3A0/converse"
    assert received.headers["x-amz-security-token"] == "session-token"
    signed = signer_of(path, received.headers, received.body, SECRET)
    assert signed == ("AKIDEXAMPLE", "eu-west-1/bedrock/aws4_request")
    upstream.received.clear()
    client.chat.completions.create(model="nova-key", messages=QUESTION)
    assert upstream.received[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("model", MODELS)
def test_calls_go_back_with_what_the_tools_returned(
    client: openai.OpenAI, upstream: FakeUpstream, model: str
) -> None:
    upstream.answer = ANSWERS[model]()
    first = client.chat.completions.create(model=model, messages=QUESTION, tools=TOOLS)
    message = first.choices[0].message
    results: Any = []
    for call in message.tool_calls or ():
        assert isinstance(call, ChatCompletionMessageFunctionToolCall)
        results.append({"role": "tool", "tool_call_id": call.id, "content": call.function.name})
    messages: Any = [*QUESTION, message.model_dump(), *results]
    client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
    answered, returned = json.loads(upstream.received[1].body)["messages"][1:]
    assert [answered["role"], returned["role"]] == ["assistant", "user"]
    assert len(answered["content"]) == 3
    assert len(returned["content"]) == 2


class Place(BaseModel):
    city: str


@pytest.mark.parametrize("model", MODELS)
def test_structured_outputs(client: openai.OpenAI, upstream: FakeUpstream, model: str) -> None:
    text = [{"type": "text", "text": '{"city": "Paris"}'}]
    upstream.answer = {
        "claude": whole({**anthropic.MESSAGE, "content": text, "stop_reason": "end_turn"}),
        "nova": whole(
            {
                **bedrock.ANSWER,
                "output": {
                    "message": {"role": "assistant", "content": [{"text": '{"city": "Paris"}'}]}
                },
                "stopReason": "end_turn",
            }
        ),
    }[model]
    answer = client.chat.completions.parse(model=model, messages=QUESTION, response_format=Place)
    assert answer.choices[0].message.parsed == Place(city="Paris")
    assert "additionalProperties" in upstream.received[0].body.decode()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("is_stream", [False, True])
def test_answers_are_stored(
    client: openai.OpenAI, upstream: FakeUpstream, model: str, is_stream: bool
) -> None:
    upstream.answer = (STREAMS if is_stream else ANSWERS)[model]()
    answer: Any = client.chat.completions.create(
        model=model, messages=QUESTION, tools=TOOLS, store=True, stream=is_stream
    )
    id = {each.id for each in answer}.pop() if is_stream else answer.id
    stored = client.chat.completions.retrieve(id)
    assert stored.model == model
    assert calls_of(stored.choices[0].message) == JOINED[model].calls
    assert [each.content for each in client.chat.completions.messages.list(id)] == [
        QUESTION[0]["content"]
    ]


def test_defaults_of_the_configuration(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    upstream.answer = ANSWERS["claude"]()
    client.chat.completions.create(model="brief", messages=QUESTION)
    assert json.loads(upstream.received[0].body)["max_tokens"] == 7


@pytest.mark.parametrize("model", MODELS)
def test_images_are_passed_on(client: openai.OpenAI, upstream: FakeUpstream, model: str) -> None:
    upstream.answer = ANSWERS[model]()
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    messages: Any = [{"role": "user", "content": [part]}]
    client.chat.completions.create(model=model, messages=messages)
    assert b"iVBORw0KGgo=" in upstream.received[0].body


@pytest.mark.parametrize("model", MODELS)
def test_what_can_not_be_done_is_refused_by_its_name(
    client: openai.OpenAI, upstream: FakeUpstream, model: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=model, messages=QUESTION, seed=5)
    assert caught.value.param == "seed"
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model=model, prompt="Paris is")
    assert caught.value.param == "model"
    assert not upstream.received


@pytest.mark.parametrize("model", MODELS)
def test_broken_answers(client: openai.OpenAI, upstream: FakeUpstream, model: str) -> None:
    upstream.answer = whole({"type": "message"})
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=model, messages=QUESTION)
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_answer_malformed")
    upstream.answer = {
        "claude": stream(*map(anthropic.sse, anthropic.EVENTS[:-1])),
        "nova": frames(*bedrock.FRAMES[:-2]),
    }[model]
    with (
        pytest.raises(openai.APIError),
        client.chat.completions.create(model=model, messages=QUESTION, stream=True) as chunks,
    ):
        list(chunks)


@pytest.mark.parametrize("model", MODELS)
def test_an_error_within_a_stream(
    client: openai.OpenAI, upstream: FakeUpstream, model: str
) -> None:
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "Too much"}}
    errors = {
        "claude": anthropic.sse(overloaded),
        "nova": exception("throttlingException", "Too much"),
    }
    begun = {"claude": anthropic.sse(*anthropic.EVENTS[:9]), "nova": b"".join(bedrock.FRAMES[:5])}
    upstream.answer = (stream if model == "claude" else frames)(begun[model], errors[model])
    with (
        pytest.raises(openai.APIError, match="Too much"),
        client.chat.completions.create(model=model, messages=QUESTION, stream=True) as chunks,
    ):
        list(chunks)


def test_an_overloaded_upstream_keeps_its_status(
    client: openai.OpenAI, upstream: FakeUpstream
) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    upstream.answer = whole(error, 529, retry_after="3")
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="claude", messages=QUESTION)
    assert caught.value.status_code == 529
    assert caught.value.response.headers["retry-after"] == "3"


@pytest.mark.parametrize("kind", ["enabled", "disabled", "adaptive"])
def test_messages_keep_what_anthropics_api_has(
    translating: AppServer, upstream: FakeUpstream, kind: str
) -> None:
    """Thinking, and a last message of the assistant's that is continued."""
    upstream.answer = ANSWERS["claude"]()
    thinking = {"type": kind, **({"budget_tokens": 2048} if kind == "enabled" else {})}
    turns = [*QUESTION, {"role": "assistant", "content": "It is"}]
    body = {"model": "claude", "max_tokens": 4096, "messages": turns, "thinking": thinking}
    answer = translating.http.post("/v1/messages", json=body)
    assert answer.status_code == 200, answer.text
    assert "x-ignored-params" not in answer.headers
    sent = json.loads(upstream.received[0].body)
    assert (sent["thinking"], sent["max_tokens"]) == (thinking, 4096)
    assert [turn["role"] for turn in sent["messages"]] == ["user", "assistant"]
    block = {"type": "tool_use", "id": "t", "name": "get", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "Sunny."}
    turns = [
        *QUESTION,
        {"role": "assistant", "content": [block]},
        {"role": "user", "content": [result]},
    ]
    tool = {"name": "get", "input_schema": {"type": "object"}}
    loop = {**body, "messages": turns, "tools": [tool]}
    answer = translating.http.post("/v1/messages", json=loop)
    left_out = answer.headers.get("x-ignored-params")
    assert left_out == ("thinking" if kind == "enabled" else None)
    assert ("thinking" in json.loads(upstream.received[1].body)) == (left_out is None)


def test_messages_to_bedrock_go_without_thinking(
    translating: AppServer, upstream: FakeUpstream
) -> None:
    upstream.answer = ANSWERS["nova"]()
    turns = [*QUESTION, {"role": "assistant", "content": "It is"}]
    body = {"model": "nova", "max_tokens": 9, "messages": turns, "thinking": {"type": "adaptive"}}
    answer = translating.http.post("/v1/messages", json=body)
    assert (answer.status_code, answer.headers["x-ignored-params"]) == (200, "thinking")
    assert "thinking" not in upstream.received[0].body.decode()


def in_background(server: AppServer, status: str) -> Any:
    """A response in the background once it has that status."""
    body = {"model": "claude", "input": "Hi", "background": True, "store": True}
    begun = server.http.post("/v1/responses", json=body).raise_for_status().json()
    assert (begun["status"], begun["model"]) == ("queued", "claude")
    path = f"/v1/responses/{begun['id']}"
    wait_until(lambda: server.http.get(path).json()["status"] == status, status)
    return server.http.get(path).json()


def test_an_upstreams_response_in_the_background(
    translating: AppServer, upstream: FakeUpstream
) -> None:
    upstream.answer = STREAMS["claude"]()
    done = in_background(translating, "completed")
    assert [item["type"] for item in done["output"]][:2] == ["reasoning", "message"]
    upstream.answer = whole({"error": {"type": "overloaded_error", "message": "Too much"}}, 529)
    failed = in_background(translating, "failed")
    assert (failed["error"]["code"], "Too much" in failed["error"]["message"]) == (
        "server_error",
        True,
    )
    upstream.answer = stalls(STREAM_HEAD, chunk(anthropic.sse(*anthropic.EVENTS[:9])))
    running = in_background(translating, "in_progress")
    path = f"/v1/responses/{running['id']}"
    cancelled = translating.http.post(f"{path}/cancel").json()
    assert cancelled["status"] == "cancelled"
    assert translating.http.get(path).json() == cancelled


def test_keys_are_in_no_log(translating: AppServer) -> None:
    """After all that was asked above."""
    for secret in (KEY, SECRET, "session-token"):
        assert secret not in translating.log_text()
