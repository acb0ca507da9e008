"""Adapter mode: streams, and what goes wrong in them."""

from __future__ import annotations

import asyncio
import queue
from typing import Any

import pytest

from shared.completion import client_disconnect
from tests.app_server import AppServer
from tests.upstreams.adapter import CHAT, DONE, MESSAGES, TEXT, USAGE, ask, end, event, events, sent
from tests.upstreams.fake_upstream import (
    STREAM_HEAD,
    FakeUpstream,
    chunk,
    delta,
    raw,
    stalls,
    stream,
)

pytestmark = pytest.mark.integration


def test_a_stream_has_the_role_first_and_the_reason_last(
    adapter: AppServer, upstream: FakeUpstream
) -> None:
    upstream.answer = stream(
        event([{"index": 0, "delta": {"role": "assistant", "content": ""}}], service_tier="flex"),
        event([{"index": 0, "delta": {"reasoning": "Hm"}}]),
        delta("Pa"),
        delta("ris"),
        event([{"index": 0, "delta": {"content": "!"}, "finish_reason": "length"}]),
        event([], usage=USAGE),
        DONE,
    )
    found = events(adapter, stream_options={"include_usage": True})
    assert sent(upstream)["stream_options"] == {"include_usage": True}
    assert found.pop() == "[DONE]"
    last = found.pop()
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 7
    head = {name: last[name] for name in ("id", "created")}
    assert all(each["usage"] is None for each in found)
    expected = {"object": "chat.completion.chunk", "model": "big", "service_tier": "flex", **head}
    assert all({name: each[name] for name in expected} == expected for each in found)
    choices = [each["choices"][0] for each in found]
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "content": "", "refusal": None},
        {"reasoning_content": "Hm"},
        {"content": "Pa"},
        {"content": "ris"},
        {"content": "!"},
        {},
    ]
    assert [choice["finish_reason"] for choice in choices] == [None] * 5 + ["length"]


def test_usage_is_there_only_where_it_is_asked_for(
    adapter: AppServer, upstream: FakeUpstream
) -> None:
    upstream.answer = stream(delta("Hi"), end(), event([], usage=USAGE), DONE)
    found = events(adapter)
    assert sent(upstream)["stream_options"] == {"include_usage": True}
    assert not any("usage" in each for each in found[:-1])


def test_streamed_text_completions(adapter: AppServer, upstream: FakeUpstream) -> None:
    upstream.answer = stream(
        event([{"index": 0, "text": "a"}]),
        event([{"index": 0, "text": "b", "finish_reason": "stop"}]),
        DONE,
    )
    found = events(adapter, path=TEXT)
    assert [each["choices"][0]["text"] for each in found[:-1]] == ["a", "b", ""]
    assert found[-2]["choices"][0]["finish_reason"] == "stop"
    assert found[-1] == "[DONE]"


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ((delta("Pa"),), "upstream_answer_incomplete"),
        ((delta("Pa"), b"data: <html>\n\n"), "upstream_answer_malformed"),
        (
            (delta("Pa"), event([{"index": 5, "delta": {"content": "x"}}]), DONE),
            "upstream_answer_malformed",
        ),
        ((delta("Pa"), b'data: {"error": {"message": "Full", "code": "full"}}\n\n'), "full"),
    ],
)
def test_what_goes_wrong_within_a_stream_is_its_last_event(
    adapter: AppServer, upstream: FakeUpstream, parts: tuple[bytes, ...], code: str
) -> None:
    upstream.answer = stream(*parts)
    found = events(adapter)
    assert found[1]["choices"][0]["delta"] == {"content": "Pa"}
    assert found[-1]["error"]["code"] == code


def test_a_connection_that_breaks_off_within_a_stream(
    adapter: AppServer, upstream: FakeUpstream
) -> None:
    upstream.answer = raw(STREAM_HEAD, chunk(delta("Pa")), closes=True)
    assert events(adapter)[-1]["error"]["code"] == "upstream_connection_failed"


@pytest.mark.parametrize(
    "answer",
    [
        raw(STREAM_HEAD, chunk(delta("Hi") + end() + DONE), closes=True),
        raw(STREAM_HEAD, chunk(delta("Hi") + end() + DONE), b"no chunk", closes=True),
        stalls(STREAM_HEAD, chunk(delta("Hi") + end() + DONE)),
        stream(delta("Hi"), end(), DONE, b"data: more\n\n"),
    ],
)
def test_what_comes_after_the_end_is_nobodys_business(
    adapter: AppServer, upstream: FakeUpstream, answer: Any
) -> None:
    upstream.answer = answer
    assert events(adapter)[-1] == "[DONE]"


def test_an_error_that_is_a_streams_first_event_has_a_status(
    adapter: AppServer, upstream: FakeUpstream
) -> None:
    upstream.answer = stream(b'data: {"error": {"message": "Full", "code": 503}}\n\n')
    assert ask(adapter, stream=True).status_code == 503


def test_a_stream_that_waits_is_kept_alive_by_comments(
    adapter: AppServer, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_disconnect, "KEEP_ALIVE_SECONDS", 0.01)
    waits: queue.SimpleQueue[Any] = queue.SimpleQueue()

    async def answer(reader: Any, writer: Any) -> None:
        go_on = asyncio.Event()
        waits.put((asyncio.get_running_loop(), go_on))
        await go_on.wait()
        await stream(delta("Hi"), end(), DONE)(reader, writer)

    upstream.answer = answer
    body = {"model": "big", "messages": MESSAGES, "stream": True}
    with adapter.client() as http, http.stream("POST", CHAT, json=body) as response:
        lines = response.iter_lines()
        assert next(lines) == ": waiting"
        loop, go_on = waits.get(timeout=60)
        loop.call_soon_threadsafe(go_on.set)
        rest = [line for line in lines if line.startswith("data:")]
    assert rest[-1] == "data: [DONE]"
