"""Answers of upstreams that are stored here: shown, listed, filtered, exported."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.storage.export.examples import Selection
from shared.storage.export.lines import batches
from shared.storage.location import open_store
from shared.storage.types import CompletionQuery, Kind
from tests.app_server import AppServer
from tests.server import CAPITAL, wait_until
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

MESSAGES: Any = CAPITAL
CHAT = "/v1/chat/completions"
DONE = b"data: [DONE]\n\n"


def event(choices: list[dict[str, Any]], **fields: Any) -> bytes:
    return b"data: " + json.dumps({"choices": choices, **fields}).encode() + b"\n\n"


def stored(adapter: AppServer, completion_id: str) -> Any:
    return adapter.http.get(f"{CHAT}/{completion_id}").raise_for_status().json()


def exported(adapter: AppServer, kind: Kind = "chat", **query: Any) -> list[Any]:
    """Examples that are made of what is stored."""
    store = open_store("sqlite", adapter.data_directory)
    assert store is not None
    found = CompletionQuery(tenant="default", kind=kind, **query)
    lines = b"".join(each.lines for each in batches(store, found, "messages", Selection()))
    store.close()
    return [json.loads(line) for line in lines.splitlines()]


def test_a_whole_answer_is_stored_as_it_is_answered(
    adapter: AppServer, upstream: FakeUpstream
) -> None:
    upstream.answer = whole(completion(system_fingerprint="fp"))
    answer = adapter.chat(
        model="mild", store=True, metadata={"run": "whole"}, user="ada", top_p=0.5
    )
    assert answer.headers["x-stored"] == "true"
    sent = json.loads(upstream.received[0].body)
    assert not {"store", "metadata"} & sent.keys()
    data = answer.json()
    found = stored(adapter, data["id"])
    assert {name: found[name] for name in data} == data
    assert found["model"] == "mild"
    assert found["served_by"] == f"127.0.0.1:{upstream.port}"
    assert found["request_id"] == answer.headers["x-request-id"]
    assert (found["metadata"], found["input_user"]) == ({"run": "whole"}, "ada")
    assert (found["temperature"], found["seed"], found["top_p"]) == (0.7, 5, 0.5)
    messages = adapter.http.get(f"{CHAT}/{data['id']}/messages").json()["data"]
    assert [message["content"] for message in messages] == [each["content"] for each in CAPITAL]


def test_a_stream_is_stored_as_what_it_adds_up_to(
    adapter: AppServer, upstream: FakeUpstream
) -> None:
    tool: Any = {"type": "function", "function": {"name": "get"}}
    upstream.answer = stream(
        event([{"index": 0, "delta": {"reasoning_content": "Hm"}}]),
        event([{"index": 0, "delta": {"reasoning_content": "m"}}]),
        event(
            [
                {
                    "index": 0,
                    "delta": {
                        "tool_calls": [
                            {"index": 0, "id": "a", "function": {"name": "get", "arguments": "{"}}
                        ]
                    },
                }
            ]
        ),
        event(
            [
                {
                    "index": 0,
                    "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]},
                    "finish_reason": "tool_calls",
                }
            ]
        ),
        event([], usage=completion()["usage"]),
        DONE,
    )
    with adapter.openai().chat.completions.create(
        model="big", messages=MESSAGES, stream=True, store=True, tools=[tool]
    ) as chunks:
        (completion_id,) = {each.id for each in chunks}
    found = stored(adapter, completion_id)
    assert found["choices"] == [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "reasoning_content": "Hmm",
                "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "get", "arguments": "{}"}}
                ],
            },
            "logprobs": None,
            "finish_reason": "tool_calls",
        }
    ]
    assert found["usage"]["completion_tokens"] == 3
    assert "incomplete" not in found


def test_texts_are_stored_too(adapter: AppServer, upstream: FakeUpstream) -> None:
    upstream.answer = whole({"choices": [{"text": " time", "finish_reason": "stop"}]})
    body = {"model": "big", "prompt": "Once upon a", "store": True, "max_tokens": 1}
    data = adapter.http.post("/v1/completions", json=body).json()
    found = adapter.http.get(f"/v1/completions/{data['id']}").json()
    assert found["choices"][0]["text"] == " time"
    assert found["served_by"]


def test_who_goes_away_leaves_what_there_was(adapter: AppServer, upstream: FakeUpstream) -> None:
    upstream.answer = stalls(STREAM_HEAD, chunk(delta("Pa")))
    body = {"model": "big", "messages": CAPITAL, "stream": True, "store": True}
    with adapter.client() as http, http.stream("POST", CHAT, json=body) as answer:
        lines = (line for line in answer.iter_lines() if line)
        completion_id = json.loads(next(lines).removeprefix("data: "))["id"]
        next(lines)
    path = f"{CHAT}/{completion_id}"
    wait_until(lambda: adapter.http.get(path).status_code == 200, "stored")
    found = stored(adapter, completion_id)
    assert found["incomplete"] is True
    assert found["choices"][0]["message"]["content"] == "Pa"


def test_what_broke_off_is_not_stored(adapter: AppServer, upstream: FakeUpstream) -> None:
    upstream.answer = stream(delta("Pa"))
    answer = adapter.chat(model="big", stream=True, store=True)
    first = json.loads(answer.text.split("\n")[0].removeprefix("data: "))
    assert adapter.http.get(f"{CHAT}/{first['id']}").status_code == 404


def test_they_are_listed_filtered_and_exported_by_the_name_here(
    adapter: AppServer, upstream: FakeUpstream
) -> None:
    upstream.answer = whole(completion())
    ids = []
    for question in ("One?", "Two?", "Three?"):
        messages = [{"role": "user", "content": question}]
        answer = adapter.chat(
            model="taught", messages=messages, store=True, metadata={"for": "training"}
        )
        ids.append(answer.json()["id"])
    adapter.chat(store=True, max_tokens=1, metadata={"for": "training"})  # by the model here
    query: dict[str, Any] = {"model": "taught", "metadata[for]": "training", "limit": 2}
    page = adapter.http.get(CHAT, params=query).json()
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (ids[:2], True)
    page = adapter.http.get(CHAT, params={**query, "after": ids[1]}).json()
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (ids[2:], False)
    examples = exported(adapter, model="taught", metadata={"for": "training"})
    assert [[message["content"] for message in each["messages"]] for each in examples] == [
        ["One?", "Paris"],
        ["Two?", "Paris"],
        ["Three?", "Paris"],
    ]


def test_the_model_here_has_nobody_who_served_it(adapter: AppServer) -> None:
    data = adapter.chat(store=True, max_tokens=1).json()
    assert "served_by" not in stored(adapter, data["id"])
