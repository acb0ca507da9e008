"""Streams on the wire: framing, roles, usage, whole characters."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.openai_types import chat_chunks, events, text_chunks
from tests.server import CAPITAL, Server, user

ENDPOINTS = {
    "/v1/chat/completions": {"messages": CAPITAL, "stream": True, "temperature": 0},
    "/v1/completions": {"prompt": "Once upon a time", "stream": True, "temperature": 0},
}


def raw_stream(server: Server, path: str, **fields: Any) -> bytes:
    """A stream's bytes."""
    with server.http.stream("POST", path, json={**ENDPOINTS[path], **fields}) as response:
        assert response.status_code == 200
        return b"".join(response.iter_raw())


@pytest.mark.parametrize("path", ENDPOINTS)
def test_every_event_is_a_data_line_and_a_blank_line(server: Server, path: str) -> None:
    raw = raw_stream(server, path)
    assert raw.endswith(b"data: [DONE]\n\n")
    blocks = raw.split(b"\n\n")
    assert blocks.pop() == b""
    for block in blocks:
        assert block.startswith(b"data: ")
        assert b"\n" not in block
        assert b"\r" not in block
    for block in blocks[:-1]:
        json.loads(block.removeprefix(b"data: "))


@pytest.mark.parametrize("path", ENDPOINTS)
def test_the_headers_say_event_stream_and_forbid_caching(server: Server, path: str) -> None:
    with server.http.stream("POST", path, json=ENDPOINTS[path]) as response:
        response.read()
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-request-id"]
    assert int(response.headers["openai-processing-ms"]) >= 0
    assert "content-length" not in response.headers


def test_the_first_chunk_carries_the_role_and_the_last_the_reason(server: Server) -> None:
    chunks = chat_chunks(server.chat(stream=True, temperature=0).text)
    first, last = chunks[0].choices[0], chunks[-1].choices[0]
    assert first.delta.role == "assistant"
    assert not first.delta.content
    assert all(chunk.choices[0].delta.role is None for chunk in chunks[1:])
    assert last.finish_reason == "stop"
    assert not last.delta.content
    assert all(chunk.choices[0].finish_reason is None for chunk in chunks[:-1])


@pytest.mark.parametrize("path", ENDPOINTS)
def test_usage_comes_last_if_asked_for_and_is_null_before(server: Server, path: str) -> None:
    raw = raw_stream(
        server, path, stream_options={"include_usage": True}, max_tokens=9, ignore_eos=True
    )
    parsed = [json.loads(event) for event in events(raw.decode())]
    assert all(chunk["usage"] is None for chunk in parsed[:-1])
    assert all(chunk["choices"] for chunk in parsed[:-1])
    assert parsed[-1]["choices"] == []
    usage = parsed[-1]["usage"]
    assert usage["completion_tokens"] == 9
    assert usage["total_tokens"] == usage["prompt_tokens"] + 9
    assert usage["prompt_tokens_details"]["cached_tokens"] >= 0


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}])
def test_without_asking_no_chunk_has_usage(
    server: Server, path: str, options: dict[str, bool] | None
) -> None:
    raw = raw_stream(server, path, stream_options=options, max_tokens=3)
    parsed = [json.loads(event) for event in events(raw.decode())]
    assert not any(chunk.get("usage") for chunk in parsed)
    assert all(len(chunk["choices"]) == 1 for chunk in parsed)


def test_usage_of_a_stream_equals_the_bodys(server: Server) -> None:
    fields = {"n": 2, "seed": 3, "max_tokens": 8, "ignore_eos": True}
    body = server.chat(**fields).json()["usage"]
    chunks = chat_chunks(
        server.chat(**fields, stream=True, stream_options={"include_usage": True}).text
    )
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.prompt_tokens == body["prompt_tokens"]
    assert usage.completion_tokens == body["completion_tokens"] == 16


@pytest.mark.parametrize(
    ("question", "first", "last"),
    [("Say hello in Chinese", 0x4E00, 0x9FFF), ("Send me three emoji", 0x2600, 0x1FAFF)],
)
def test_characters_split_over_tokens_arrive_whole(
    server: Server, question: str, first: int, last: int
) -> None:
    fields: dict[str, Any] = {"messages": user(question), "temperature": 0}
    whole = server.chat(**fields).json()["choices"][0]["message"]["content"]
    chunks = chat_chunks(server.chat(**fields, stream=True).text)
    deltas = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert not any("\ufffd" in delta for delta in deltas)
    assert "".join(deltas) == whole
    assert sum(first <= ord(character) <= last for character in whole) >= 2
    assert len([delta for delta in deltas if delta]) > 1, "not all at once"


def test_a_character_cut_off_by_the_limit_is_replaced_not_lost(server: Server) -> None:
    """An emoji takes four bytes: however few tokens there are, the text stays valid."""
    for n_tokens in range(1, 9):
        fields: dict[str, Any] = {
            "messages": user("Send me three emoji"),
            "temperature": 0,
            "max_tokens": n_tokens,
        }
        whole = server.chat(**fields).json()
        chunks = chat_chunks(server.chat(**fields, stream=True).text)
        streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert streamed == whole["choices"][0]["message"]["content"]
        assert "\ufffd" not in streamed[:-1]


def test_text_chunks_of_many_prompts_end_each_choice_once(server: Server) -> None:
    response = server.text(prompt=["a", "b", "c"], n=2, max_tokens=5, stream=True, seed=1)
    ends = [
        choice.index
        for chunk in text_chunks(response.text)
        for choice in chunk.choices
        if choice.finish_reason is not None
    ]
    assert sorted(ends) == [0, 1, 2, 3, 4, 5]


def test_an_answer_without_text_is_still_a_whole_stream(server: Server) -> None:
    whole = server.chat(temperature=0).json()["choices"][0]["message"]["content"]
    chunks = chat_chunks(server.chat(stream=True, temperature=0, stop=whole[0]).text)
    assert [chunk.choices[0].delta.content or "" for chunk in chunks] == ["", ""]
    assert chunks[-1].choices[0].finish_reason == "stop"
