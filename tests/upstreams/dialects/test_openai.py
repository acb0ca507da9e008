"""OpenAI's dialect: what is sent, and answers read whole, and streamed cut at every byte."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.config.upstreams import UpstreamModel
from shared.protocol.errors import APIError
from shared.upstreams.dialects.dialect import AnswerPart, Endpoint, ToolCallPart, UpstreamUsage
from shared.upstreams.dialects.openai_answer import OpenAIReader
from shared.upstreams.dialects.openai_dialect import OpenAIDialect

UPSTREAM = UpstreamModel.model_validate({"upstream": "https://api.test/v1", "mode": "direct"})
USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 7,
    "total_tokens": 27,
    "prompt_tokens_details": {"cached_tokens": 8},
    "completion_tokens_details": {"reasoning_tokens": 4, "accepted_prediction_tokens": 1},
}


def reader(endpoint: Endpoint = "chat") -> OpenAIReader:
    return OpenAIReader(UPSTREAM, endpoint)


def body(fields: dict[str, Any], endpoint: Endpoint = "chat") -> Any:
    return json.loads(OpenAIDialect("big", UPSTREAM).request(endpoint, fields).body)


def event(data: object) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def delta(choice: int = 0, finish_reason: str | None = None, **fields: Any) -> bytes:
    return event({"choices": [{"index": choice, "delta": fields, "finish_reason": finish_reason}]})


def call(index: int | None, **fields: Any) -> bytes:
    part = {} if index is None else {"index": index}
    return delta(tool_calls=[{**part, **fields}])


def added_up(parts: list[AnswerPart]) -> dict[int, dict[str, Any]]:
    """The choices, each with its texts, calls and end."""
    choices: dict[int, dict[str, Any]] = {}
    for part in parts:
        choice = choices.setdefault(part.choice, {"calls": {}, "finish_reason": None})
        for name in ("content", "reasoning", "refusal"):
            choice[name] = choice.get(name, "") + getattr(part, name)
        for each in part.tool_calls:
            known = choice["calls"].setdefault(each.index, [each.id, each.name, ""])
            known[2] += each.arguments
        choice["finish_reason"] = part.finish_reason or choice["finish_reason"]
    return choices


STREAM = b"".join(
    (
        b": keep-alive\r\n\r\n",
        delta(role="assistant", content="", refusal=None),
        delta(reasoning_content="Hm"),
        delta(content="Gr\u00fc\u00dfe, "),
        delta(content="\u4e16\u754c"),
        call(0, id="call_a", type="function", function={"name": "get", "arguments": ""}),
        call(0, function={"arguments": '{"a":'}),
        call(1, id="call_b", type="function", function={"name": "put", "arguments": "{}"}),
        call(0, function={"arguments": "1}"}),
        delta(1, refusal="No."),
        delta(1, "content_filter"),
        delta(0, "tool_calls"),
        event({"choices": [], "usage": USAGE, "model": "big-2026", "service_tier": "flex"}),
        b"data: [DONE]\n\n",
    )
)
ENDED = {
    0: {
        "calls": {0: ["call_a", "get", '{"a":1}'], 1: ["call_b", "put", "{}"]},
        "finish_reason": "tool_calls",
        "content": "Gr\u00fc\u00dfe, \u4e16\u754c",
        "reasoning": "Hm",
        "refusal": "",
    },
    1: {
        "calls": {},
        "finish_reason": "content_filter",
        "content": "",
        "reasoning": "",
        "refusal": "No.",
    },
}


@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
def test_a_stream_reads_the_same_wherever_it_is_cut(ends: bytes) -> None:
    stream = STREAM.replace(b"\r\n", b"\n").replace(b"\n", ends)
    for cut in range(len(stream) + 1):
        read = reader()
        parts = read.feed(stream[:cut]) + read.feed(stream[cut:])
        assert added_up(parts) == ENDED
        assert read.is_done
        assert read.usage == UpstreamUsage(20, 8, 7, 4, accepted_prediction=1)
        assert (read.model, read.service_tier) == ("big-2026", "flex")


def test_a_stream_byte_by_byte() -> None:
    read = reader()
    parts = [part for i in range(len(STREAM)) for part in read.feed(STREAM[i : i + 1])]
    assert added_up(parts) == ENDED


@pytest.mark.parametrize("end", [b"", b"data: [DONE]"])
def test_what_does_not_say_that_it_ends_has_broken_off(end: bytes) -> None:
    read = reader()
    read.feed(STREAM.removesuffix(b"data: [DONE]\n\n") + end)
    assert not read.is_done


def test_a_whole_answer() -> None:
    read = reader()
    called = {"id": "call_a", "type": "function", "function": {"name": "get", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "reasoning": "Hm", "tool_calls": [called]}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls"}
    (part,) = read.whole(json.dumps({"choices": [choice], "usage": USAGE}).encode())
    assert part == AnswerPart(
        reasoning="Hm",
        tool_calls=[ToolCallPart(0, "call_a", "get", "{}")],
        finish_reason="tool_calls",
    )
    assert read.usage is not None


def test_a_text_and_its_log_probabilities() -> None:
    logprobs = {
        "tokens": ["a"],
        "token_logprobs": [None],
        "top_logprobs": [{"a": -1.0, "b": -2.5}],
        "text_offset": [0],
    }
    choice = {"index": 1, "text": "a", "logprobs": logprobs, "finish_reason": "length"}
    (part,) = reader("text").whole(json.dumps({"choices": [choice]}).encode())
    assert part == AnswerPart(1, "a", logprobs=logprobs, finish_reason="length")


def test_chats_log_probabilities_have_openais_fields_alone() -> None:
    token = {"token": "a", "logprob": -1, "bytes": [97], "id": 5}
    columns = {"content": [{**token, "top_logprobs": [token]}]}
    read = reader().feed(
        event({"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": columns}]})
    )
    known = {"token": "a", "logprob": -1, "bytes": [97]}
    assert read[0].logprobs == {"content": [{**known, "top_logprobs": [known]}], "refusal": None}


def test_calls_that_all_have_the_number_0_are_told_apart_by_their_ids() -> None:
    """Gemini's endpoint sends each call whole, and numbers them alike."""
    read = reader()
    function = {"name": "get", "arguments": "{}"}
    parts = read.feed(call(0, id="a", function=function) + call(0, id="b", function=function))
    parts += read.feed(call(None, id="c", function=function))
    assert added_up(parts)[0]["calls"] == {i: [i_d, "get", "{}"] for i, i_d in enumerate("abc")}


def test_an_id_and_a_name_that_are_repeated_begin_no_other_call() -> None:
    function = {"name": "get", "arguments": "1"}
    parts = reader().feed(call(0, id="a", function=function) * 2)
    assert added_up(parts)[0]["calls"] == {0: ["a", "get", "11"]}


def test_a_function_call_of_the_older_form_is_a_call() -> None:
    parts = reader().feed(
        delta(function_call={"name": "get", "arguments": ""})
        + delta(function_call={"arguments": "{}"})
        + delta(finish_reason="function_call")
    )
    (choice,) = added_up(parts).values()
    assert choice["calls"] == {0: [None, "get", "{}"]}
    assert choice["finish_reason"] == "function_call"


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, None),
        ({"prompt_tokens": 1}, None),
        ({"prompt_tokens": -1, "completion_tokens": 1}, None),
        ({"prompt_tokens": 1, "completion_tokens": True}, None),
        ({"prompt_tokens": 3, "completion_tokens": 1}, UpstreamUsage(3, 0, 1)),
        # Reasoning that the completion tokens are without.
        (
            {
                "prompt_tokens": 3,
                "completion_tokens": 1,
                "total_tokens": 9,
                "completion_tokens_details": {"reasoning_tokens": 5},
            },
            UpstreamUsage(3, 0, 6, 5),
        ),
    ],
)
def test_usage(usage: Any, expected: UpstreamUsage | None) -> None:
    read = reader()
    read.feed(event({"choices": [], "usage": usage}))
    assert read.usage == expected


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"choices": 1}',
        b'{"choices": [1]}',
        b'{"choices": []}',
        b'{"choices": [{"message": "x"}]}',
        b'{"choices": [{"message": {"content": ["x"]}}]}',
        b'{"choices": [{"index": "0", "message": {}}]}',
        b'{"choices": [{"message": {"tool_calls": [{"function": {"name": 1}}]}}]}',
        b'{"choices": [{"message": {}, "logprobs": {"content": [{"token": 1}]}}]}',
        b'{"choices": [{"message": {}, "logprobs": {"content": [{"token": "", "logprob": "x"}]}}]}',
        b"[" * 2000,
    ],
)
def test_what_is_no_answer(answer: bytes) -> None:
    with pytest.raises(APIError) as raised:
        reader().whole(answer)
    assert (raised.value.status, raised.value.code) == (502, "upstream_answer_malformed")


@pytest.mark.parametrize(
    ("error", "status"),
    [({"message": "Full", "code": "overloaded"}, 502), ({"message": "Full", "code": 429}, 429)],
)
def test_an_error_in_place_of_an_answer(error: dict[str, Any], status: int) -> None:
    read = reader()
    read.feed(delta(content="Pa"))
    with pytest.raises(APIError) as raised:
        read.feed(event({"error": error}))
    assert (raised.value.status, raised.value.message) == (status, "Full")


@pytest.mark.parametrize("event", [b"x" * 2**21, b"data: x\n" * 2**18])
def test_an_event_without_an_end_ends_the_stream(event: bytes) -> None:
    with pytest.raises(APIError) as raised:
        reader().feed(event)
    assert raised.value.code == "upstream_answer_malformed"


def test_a_request() -> None:
    messages = [{"role": "user", "content": "Hi"}]
    fields = {"messages": messages, "temperature": 0.5, "store": True, "metadata": {"a": "b"}}
    assert body(fields) == {"model": "big", "messages": messages, "temperature": 0.5}
    streamed = {**fields, "stream": True, "stream_options": {"include_obfuscation": True}}
    sent = body(streamed)
    assert sent["stream_options"] == {"include_usage": True}


def test_a_schema_in_llama_cpps_short_form_is_sent_in_openais() -> None:
    schema = {"type": "object", "default": None}
    sent = body({"messages": [], "json_schema": schema})
    assert "json_schema" not in sent
    assert sent["response_format"]["json_schema"]["schema"] == schema


@pytest.mark.parametrize("name", ["grammar", "regex", "timings_per_token", "return_progress"])
def test_what_upstreams_might_pass_over_is_refused(name: str) -> None:
    with pytest.raises(APIError) as raised:
        body({"messages": [], name: "x"})
    assert (raised.value.status, raised.value.param) == (400, name)
    assert name not in body({"messages": [], name: False})
