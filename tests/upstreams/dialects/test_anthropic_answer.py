"""Answers of the Messages API, whole and streamed, cut anywhere, and broken ones."""

from __future__ import annotations

import itertools
import json
from typing import Any

import orjson
import pytest

from shared.upstreams.dialects.anthropic_answer import AnthropicReader
from shared.upstreams.dialects.dialect import UpstreamUsage
from shared.upstreams.errors import UpstreamError
from tests.sweeps import examples
from tests.upstreams.dialects.reading import (
    DEEP,
    Joined,
    cuts,
    fed,
    is_refused,
    joined,
    variants,
)
from tests.upstreams.dialects.test_request_table import table
from tests.upstreams.dialects.translation import upstream_of

USAGE = {
    "input_tokens": 20,
    "cache_creation_input_tokens": 100,
    "cache_read_input_tokens": 1000,
    "output_tokens": 30,
    "output_tokens_details": {"thinking_tokens": 12},
    "service_tier": "standard",
}
COUNTED = UpstreamUsage(prompt=1120, cached=1000, completion=30, reasoning=12)
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-5-5",
    "content": [
        {"type": "thinking", "thinking": "Weather: ask.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "Li4u"},
        {"type": "text", "text": "I look ☀", "citations": None},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris"}},
        {"type": "tool_use", "id": "toolu_2", "name": "time", "input": {}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": USAGE,
}
ANSWER = Joined(
    content="I look ☀",
    reasoning="Weather: ask.",
    calls=[["toolu_1", "weather", '{"city":"Paris"}'], ["toolu_2", "time", "{}"]],
    finish_reasons=["tool_calls"],
)


CITATION = {
    "type": "char_location",
    "cited_text": "look",
    "document_index": 0,
    "document_title": None,
    "start_char_index": 2,
    "end_char_index": 6,
}


def reader() -> AnthropicReader:
    return AnthropicReader(upstream_of("anthropic"))


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": each} for each in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def arguments(text: str) -> dict[str, Any]:
    return {"type": "input_json_delta", "partial_json": text}


EVENTS: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {
            **MESSAGE,
            "content": [],
            "stop_reason": None,
            "usage": {**USAGE, "output_tokens": 1, "output_tokens_details": None},
        },
    },
    *block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "Weather: "},
        {"type": "thinking_delta", "thinking": "ask."},
        {"type": "signature_delta", "signature": "c2ln"},
    ),
    {"type": "ping"},
    *block(1, {"type": "redacted_thinking", "data": "Li4u"}),
    *block(
        2,
        {"type": "text", "text": ""},
        {"type": "text_delta", "text": "I look"},
        {"type": "citations_delta", "citation": CITATION},
        {"type": "text_delta", "text": " ☀"},
    ),
    *block(
        3,
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
        arguments(""),
        arguments('{"city":'),
        arguments('"Paris"}'),
    ),
    *block(4, {"type": "tool_use", "id": "toolu_2", "name": "time", "input": {}}, arguments("")),
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 30, "output_tokens_details": {"thinking_tokens": 12}},
    },
    {"type": "message_stop"},
]


def sse(*events: Any) -> bytes:
    return b"".join(
        b"event: x\ndata: %b\n\n" % json.dumps(each, ensure_ascii=False).encode() for each in events
    )


STREAM = sse(*EVENTS)


def test_a_whole_answer() -> None:
    found = reader()
    assert joined(found.whole(orjson.dumps(MESSAGE))) == ANSWER
    assert (found.usage, found.model, found.is_done) == (COUNTED, "claude-sonnet-5-5", True)
    assert found.service_tier == "default"


@pytest.mark.sweep(1)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_a_stream_cut_anywhere(line_end: bytes) -> None:
    stream = STREAM.replace(b"\n", line_end)
    for pieces in itertools.islice(cuts(stream), examples(len(stream) + 2)):
        found = reader()
        assert joined(fed(found, pieces)) == ANSWER
        assert (found.usage, found.model, found.is_done) == (COUNTED, "claude-sonnet-5-5", True)
        assert found.service_tier == "default"


def test_a_part_comes_as_soon_as_its_event_is_complete() -> None:
    found, first = reader(), sse(*EVENTS[:9])
    assert joined(found.feed(first)).reasoning == "Weather: ask."
    assert found.feed(sse(*EVENTS[9:10])[:-1]) == []
    assert joined(found.feed(b"\n" + sse(EVENTS[10]))).content == "I look"
    assert not found.is_done


def test_usage_is_there_from_the_first_event_on() -> None:
    found = reader()
    found.feed(sse(EVENTS[0]))
    assert found.usage == UpstreamUsage(prompt=1120, cached=1000, completion=1)


@pytest.mark.parametrize(
    ("reason", "means"),
    [
        (code, row[0].removeprefix("`finish_reason: ").rstrip("`"))
        for row in table("Answers")
        if "finish_reason" in row[0]
        for code in row[1].partition(";")[0].replace("`", "").split(", ")
    ]
    + [("of_tomorrow", "stop")],
)
def test_stop_reasons(reason: str, means: str) -> None:
    message = {**MESSAGE, "content": [], "stop_reason": reason}
    assert joined(reader().whole(orjson.dumps(message))).finish_reasons == [means]
    stop = {
        "type": "message_delta",
        "delta": {"stop_reason": reason},
        "usage": {"output_tokens": 1},
    }
    assert joined(reader().feed(sse(EVENTS[0], stop, EVENTS[-1]))).finish_reasons == [means]


def test_a_refusal_says_why() -> None:
    details = {"type": "refusal", "category": "bio", "explanation": "It could harm."}
    message = {**MESSAGE, "content": [], "stop_reason": "refusal", "stop_details": details}
    assert joined(reader().whole(orjson.dumps(message))).refusal == "It could harm."


def test_arguments_that_come_whole_in_a_stream() -> None:
    """Servers that have the API too may send them so."""
    start = {"type": "tool_use", "id": "a", "name": "f", "input": {"b": 1}}
    stop = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}}
    found = joined(reader().feed(sse(EVENTS[0], *block(0, start), stop, EVENTS[-1])))
    assert found.calls == [["a", "f", '{"b":1}']]


def test_blocks_of_tools_that_the_server_calls_are_passed_over() -> None:
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    text = block(1, {"type": "text", "text": "Hi"})
    pause = {"type": "message_delta", "delta": {"stop_reason": "pause_turn"}}
    events = [EVENTS[0], *block(0, search, arguments('{"q": 1}')), *text, pause, EVENTS[-1]]
    assert joined(reader().feed(sse(*events))) == Joined(content="Hi", finish_reasons=["length"])


@pytest.mark.parametrize(
    ("kind", "status"), [("overloaded_error", 529), ("rate_limit_error", 429), ("api_error", 500)]
)
def test_an_error_within_a_stream(kind: str, status: int) -> None:
    error = {"type": "error", "error": {"type": kind, "message": "Overloaded"}}
    found = reader()
    found.feed(sse(*EVENTS[:3]))
    with pytest.raises(UpstreamError) as caught:
        found.feed(sse(error))
    assert (caught.value.status, caught.value.message) == (status, "Overloaded")
    assert caught.value.upstream["error"] == error["error"]


def test_what_comes_before_an_error_is_not_lost() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    for last, status in ((sse(error), 529), (b"data: {\n\n", 502)):
        found = reader()
        assert joined(found.feed(sse(*EVENTS[:3]) + last)).reasoning == "Weather: "
        assert found.error is not None
        assert found.error.status == status


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"<html>",
        DEEP,
        b'{"type": "message", "content": []}',
        b'{"type": "error", "error": {"type": "api_error"}}',
        orjson.dumps({**MESSAGE, "stop_reason": None}),
        orjson.dumps(MESSAGE).replace(
            b'{"city":"Paris"}', b'{"a":' + b"[" * 300 + b"]" * 300 + b"}"
        ),
    ],
)
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(UpstreamError) as caught:
        reader().whole(body)
    assert (caught.value.status, caught.value.code) == (502, "upstream_answer_malformed")


@pytest.mark.parametrize(
    "events",
    [
        [EVENTS[0], EVENTS[-1]],
        [*EVENTS[:2], EVENTS[-2], EVENTS[-1]],
        [EVENTS[0], EVENTS[2]],
        [EVENTS[0], EVENTS[1], EVENTS[1]],
        [EVENTS[0], {"type": "content_block_stop", "index": 3}],
    ],
)
def test_what_is_no_stream(events: list[dict[str, Any]]) -> None:
    assert is_refused(reader(), stream=sse(*events))
    assert is_refused(reader(), stream=b"data: " + DEEP + b"\n\n")


@pytest.mark.slow
def test_odd_values_make_an_error_or_no_difference() -> None:
    """Whatever is where a value belongs: nothing else fails, and no call lacks its id."""
    refused = [is_refused(reader(), whole=json.dumps(each).encode()) for each in variants(MESSAGE)]
    assert 0 < sum(refused) < len(refused)
    refused = [
        is_refused(reader(), stream=sse(*EVENTS[:i], odd, *EVENTS[i + 1 :]))
        for i, event in enumerate(EVENTS)
        for odd in variants(event)
    ]
    assert 0 < sum(refused) < len(refused)
