"""Answers of Converse and ConverseStream, whole and streamed, cut anywhere, and broken ones."""

from __future__ import annotations

import itertools
import json
from typing import Any

import orjson
import pytest

from shared.upstreams.dialects.bedrock_answer import BedrockReader
from shared.upstreams.dialects.dialect import UpstreamUsage
from shared.upstreams.errors import UpstreamError
from tests.sweeps import examples
from tests.upstreams.dialects.converse_model import check, operation
from tests.upstreams.dialects.frames import event, exception, frame, raw_frame
from tests.upstreams.dialects.reading import (
    DEEP,
    Joined,
    cuts,
    error_of,
    fed,
    is_refused,
    joined,
    variants,
)
from tests.upstreams.dialects.test_request_table import table
from tests.upstreams.dialects.translation import upstream_of

USAGE = {
    "inputTokens": 20,
    "outputTokens": 30,
    "totalTokens": 1150,
    "cacheReadInputTokens": 1000,
    "cacheWriteInputTokens": 100,
}
COUNTED = UpstreamUsage(prompt=1120, cached=1000, completion=30)
ANSWER: dict[str, Any] = {
    "output": {
        "message": {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "Ask.", "signature": "s"}}},
                {"reasoningContent": {"redactedContent": "Li4u"}},
                {"text": "I look ☀"},
                {"citationsContent": {"content": [{"text": "!"}], "citations": []}},
                {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Paris"}}},
                {"toolUse": {"toolUseId": "t2", "name": "time", "input": {}}},
            ],
        }
    },
    "stopReason": "tool_use",
    "usage": USAGE,
    "metrics": {"latencyMs": 5},
    "serviceTier": {"type": "flex"},
}
JOINED = Joined(
    content="I look ☀!",
    reasoning="Ask.",
    calls=[["t1", "weather", '{"city":"Paris"}'], ["t2", "time", "{}"]],
    finish_reasons=["tool_calls"],
)


def reader() -> BedrockReader:
    return BedrockReader(upstream_of("bedrock"))


def delta(index: int, delta: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return "contentBlockDelta", {"contentBlockIndex": index, "delta": delta}


def stop(index: int) -> tuple[str, dict[str, Any]]:
    return "contentBlockStop", {"contentBlockIndex": index}


def start(index: int, id: str, name: str) -> tuple[str, dict[str, Any]]:
    tool_use = {"toolUseId": id, "name": name}
    return "contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": tool_use}}


EVENTS: list[tuple[str, Any]] = [
    ("messageStart", {"role": "assistant"}),
    delta(0, {"reasoningContent": {"text": "Ask."}}),
    delta(0, {"reasoningContent": {"signature": "s"}}),
    stop(0),
    delta(1, {"text": "I look"}),
    delta(1, {"text": " ☀!"}),
    delta(1, {"citation": {"title": "a"}}),
    stop(1),
    start(2, "t1", "weather"),
    delta(2, {"toolUse": {"input": ""}}),
    delta(2, {"toolUse": {"input": '{"city":'}}),
    delta(2, {"toolUse": {"input": '"Paris"}'}}),
    stop(2),
    start(3, "t2", "time"),
    stop(3),
    ("messageStop", {"stopReason": "tool_use"}),
    ("metadata", {"usage": USAGE, "metrics": {"latencyMs": 5}, "serviceTier": {"type": "flex"}}),
]
FRAMES = [event(*each) for each in EVENTS]
STREAM = b"".join(FRAMES)


def test_the_answers_here_are_those_of_botocores_model() -> None:
    check(ANSWER, operation("Converse").output_shape)
    stream: Any = operation("ConverseStream").output_shape
    for kind, data in EVENTS:
        check(data, stream.members["stream"].members[kind])


def test_a_whole_answer() -> None:
    found = reader()
    assert joined(found.whole(orjson.dumps(ANSWER))) == JOINED
    assert (found.usage, found.model, found.is_done) == (COUNTED, None, True)
    assert found.service_tier == "flex"


@pytest.mark.slow
def test_a_stream_cut_anywhere() -> None:
    for pieces in itertools.islice(cuts(STREAM), examples(len(STREAM) + 2)):
        found = reader()
        assert joined(fed(found, pieces)) == JOINED
        assert (found.usage, found.model, found.is_done) == (COUNTED, None, True)
        assert found.service_tier == "flex"


def test_a_part_comes_as_soon_as_its_frame_is_complete() -> None:
    found = reader()
    assert joined(found.feed(b"".join(FRAMES[:2]))).reasoning == "Ask."
    assert found.feed(b"".join(FRAMES[2:5])[:-1]) == []
    assert joined(found.feed(FRAMES[4][-1:])).content == "I look"
    assert not found.is_done


@pytest.mark.parametrize(
    ("reason", "means"),
    [
        (code, row[0].removeprefix("`finish_reason: ").rstrip("`"))
        for row in table("Answers")
        if "finish_reason" in row[0]
        for code in row[2].partition(";")[0].replace("`", "").split(", ")
    ]
    + [("of_tomorrow", "stop")],
)
def test_stop_reasons(reason: str, means: str) -> None:
    answer = {**ANSWER, "output": {"message": {"content": []}}, "stopReason": reason}
    assert joined(reader().whole(orjson.dumps(answer))).finish_reasons == [means]
    stream = FRAMES[0] + event("messageStop", {"stopReason": reason}) + FRAMES[-1]
    assert joined(reader().feed(stream)).finish_reasons == [means]


@pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])
def test_answers_that_bedrock_calls_malformed(reason: str) -> None:
    assert is_refused(reader(), whole=orjson.dumps({**ANSWER, "stopReason": reason}))
    stream = FRAMES[0] + event("messageStop", {"stopReason": reason})
    assert is_refused(reader(), stream=stream)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("throttlingException", 429),
        ("validationException", 400),
        ("modelStreamErrorException", 424),
        ("serviceUnavailableException", 503),
        ("internalServerException", 500),
        ("ofTomorrow", 500),
    ],
)
def test_an_exception_within_a_stream(kind: str, status: int) -> None:
    found = reader()
    found.feed(b"".join(FRAMES[:3]))
    with pytest.raises(UpstreamError) as caught:
        found.feed(exception(kind, "Too many tokens"))
    assert (caught.value.status, caught.value.message) == (status, "Too many tokens")
    assert caught.value.upstream["error"] == {"type": kind, "message": "Too many tokens"}


def test_an_error_that_is_not_modeled() -> None:
    error = frame(b"", message_type="error", error_code="InternalFailure", error_message="Oh")
    with pytest.raises(UpstreamError) as caught:
        reader().feed(error)
    assert (caught.value.status, caught.value.message) == (500, "Oh")


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"<html>", DEEP, b"{}", orjson.dumps({**ANSWER, "stopReason": None})],
)
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(UpstreamError) as caught:
        reader().whole(body)
    assert (caught.value.status, caught.value.code) == (502, "upstream_answer_malformed")


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


@pytest.mark.parametrize(
    "stream",
    [
        b"data: {}\n\n" * 3,
        b"\x00" * 16,
        b"\xff" * 16,
        raw_frame(b"{}", b"\x05:a"),
        raw_frame(b"{}", b"\x01a\x63"),
        raw_frame(b"{}", b"\x02a\xff\x00"),
        raw_frame(b"{}", b"\x01a\x00\x01a\x00"),
        raw_frame(
            b"{}", b"".join(b"\x02%b\x00" % str(i).zfill(2).encode() for i in range(100)) * 20
        ),
        frame(b"{}"),
        frame(DEEP, event_type="messageStop", message_type="event"),
        FRAMES[0] + FRAMES[-1],
        FRAMES[0] + FRAMES[8] + FRAMES[8],
        FRAMES[0] + FRAMES[10],
        FRAMES[0] + FRAMES[13] + FRAMES[15],
    ],
)
def test_what_is_no_stream(stream: bytes) -> None:
    found = reader()
    assert error_of(found, stream=stream) is not None
    assert not found.is_done


def test_a_byte_that_is_another_never_passes() -> None:
    first = FRAMES[4]
    for position in range(len(first)):
        found = reader()
        try:
            parts = found.feed(flipped(first, position))
        except UpstreamError as error:
            assert error.status in (500, 502)  # noqa: PT017
        else:
            assert not parts  # it is a longer frame, which goes on


@pytest.mark.slow
def test_odd_values_make_an_error_or_no_difference() -> None:
    """Whatever is where a value belongs: nothing else fails, and no call lacks its id."""
    refused = [is_refused(reader(), whole=json.dumps(each).encode()) for each in variants(ANSWER)]
    assert 0 < sum(refused) < len(refused)
    refused = [
        is_refused(reader(), stream=b"".join([*FRAMES[:i], event(kind, odd), *FRAMES[i + 1 :]]))
        for i, (kind, data) in enumerate(EVENTS)
        for odd in variants(data)
    ]
    assert 0 < sum(refused) < len(refused)
