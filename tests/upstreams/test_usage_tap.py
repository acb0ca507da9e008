"""Usage that is read from passing answers: however they are cut, and however large they are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.upstreams.usage_tap import UsageTap, estimated_prompt
from tests.upstreams.fake_upstream import completion, delta

DONE = b"data: [DONE]\n\n"
COUNTS = {"prompt_tokens": 20, "completion_tokens": 7}
USAGE = b"data: " + json.dumps({"choices": [], "usage": COUNTS}).encode() + b"\n\n"
TOOL = {"index": 0, "function": {"name": "f", "arguments": '{"a": 1}'}}
LONG = 2**16

Counts = tuple[tuple[int, int, int] | None, int, bool]


def counts(*parts: bytes) -> Counts:
    """Usage, estimate, and whether it was done, of a stream that came in parts."""
    tap = UsageTap()
    for part in parts:
        tap.feed(part)
    return tap.usage, tap.estimate, tap.is_done


def event(**fields: Any) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def cut(stream: bytes, size: int) -> list[bytes]:
    return [stream[start : start + size] for start in range(0, len(stream), size)]


STREAMS: dict[str, tuple[bytes, Counts]] = {
    "usage": (delta("Paris") + USAGE + DONE, ((20, 0, 7), 2, True)),
    "none": (delta("P\u00e4ris is") + delta("!") + DONE, (None, 3, True)),
    "carriage returns": (
        (delta("Paris") + USAGE + DONE).replace(b"\n", b"\r\n"),
        ((20, 0, 7), 2, True),
    ),
    "only carriage returns": ((USAGE + DONE).replace(b"\n", b"\r"), ((20, 0, 7), 0, True)),
    "comments": (b": data: x\n\n" + delta("a") + b"event: data: x\n\n", (None, 1, False)),
    "no space": (USAGE.replace(b"data: ", b"data:") + b"data:[DONE]\n\n", ((20, 0, 7), 0, True)),
    "the last usage": (
        event(usage=COUNTS) + event(usage={**COUNTS, "completion_tokens": 9}),
        ((20, 0, 9), 0, False),
    ),
    "no usage after all": (event(usage=COUNTS) + event(usage=None), ((20, 0, 7), 0, False)),
    "no counts": (event(usage={"prompt_tokens": -1, "completion_tokens": True}), (None, 0, False)),
    "tools": (event(choices=[{"delta": {"tool_calls": [TOOL]}}]), (None, 3, False)),
    "not JSON": (b"data: {x}\n\ndata: 12345\n\n", (None, 1, False)),
    "not ended": (delta("abcd") + b"data: [DONE]", (None, 1, False)),
    "nothing": (b"\n\r\n\r\ndata:\n\ndata: \n\n", (None, 0, False)),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_has_the_same_usage_however_it_is_cut(name: str) -> None:
    stream, expected = STREAMS[name]
    for size in range(1, len(stream) + 1):
        assert counts(*cut(stream, size)) == expected, f"in parts of {size}"
    for at in range(len(stream) + 1):
        assert counts(stream[:at], stream[at:]) == expected, f"cut at {at}"


@pytest.mark.parametrize("size", [1000, 4095, 4096, LONG + 7, 2**22])
def test_of_a_long_line_only_the_usage_is_read(size: int) -> None:
    image = "A" * LONG + '\\"usage\\": {\\"prompt_tokens\\": 1, \\"completion_tokens\\": 1}'
    line = f'data: {{"choices": [{{"delta": {{"content": "{image}"}}}}], '.encode()
    line += b'"usage" : {"prompt_tokens": 20, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 3}}}'
    usage, estimate, is_done = counts(*cut(line + b"\n\n" + DONE, size))
    assert (usage, estimate, is_done) == ((20, 3, 7), -(-len(line) // 4), True)
    usage, estimate, _ = counts(*cut(line[:LONG] + b"x\n\n", size))
    assert (usage, estimate) == (None, -(-(LONG + 1) // 4))


@pytest.mark.parametrize(
    "text", ["Paris", "x" * LONG, 'he said "usage": {"prompt_tokens": 1}' * LONG]
)
def test_a_whole_answer_has_a_usage_however_large_it_is(text: str) -> None:
    tap = UsageTap()
    tap.whole(json.dumps(completion(text)).encode())
    assert tap.usage == (20, 8, 3)


@pytest.mark.parametrize(
    "usage", [b"", b'"usage"', b'"usage": {', b'"usage": {"a": ' + b"[" * 4000]
)
def test_a_large_answer_without_a_usage_is_estimated(usage: bytes) -> None:
    tap = UsageTap()
    body = b'{"a": "' + b"x" * LONG + b'", ' + usage
    tap.whole(body)
    assert (tap.usage, tap.estimate) == (None, -(-len(body) // 4))


def test_a_long_line_that_breaks_off_is_estimated() -> None:
    assert counts(b"data: ", b"x" * 2 * LONG)[1] == LONG // 2 + 2


def test_a_prompt_is_estimated_by_its_texts() -> None:
    parts = [
        {"type": "text", "text": "12345678"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10**5}},
    ]
    assert estimated_prompt({"messages": [{"content": parts}]}) < 20
    assert estimated_prompt({"prompt": [1, 2, 3]}) == 3
    assert estimated_prompt({"prompt": "12345"}) == 2
