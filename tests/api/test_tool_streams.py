"""Streams of calls: OpenAI's deltas, and the same message as in the body."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.messages import both
from tests.api.openai_types import chat_chunks
from tests.api.schemas import PERSON
from tests.api.tools import BOSTON, STRICT, SUNNY, TIME, TWO_CITIES, WEATHER
from tests.server import CAPITAL, Server, user

FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
THINKING = {"chat_template_kwargs": {"enable_thinking": True}}
HISTORY = [
    *BOSTON,
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"location": "Boston"}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": SUNNY},
]
LOGPROBS = {"logprobs": True, "top_logprobs": 2}
REQUESTS: dict[str, dict[str, Any]] = {
    "a call": {"messages": BOSTON, "tools": [WEATHER]},
    "no call": {"messages": CAPITAL, "tools": [WEATHER]},
    "two calls": {"messages": TWO_CITIES, "tools": [WEATHER]},
    "the answer": {"messages": HISTORY, "tools": [WEATHER]},
    "required": {"messages": CAPITAL, "tools": [WEATHER, TIME], "tool_choice": "required"},
    "one at most": {"messages": TWO_CITIES, "tools": [WEATHER], "parallel_tool_calls": False},
    "strict": {"messages": BOSTON, "tools": [STRICT]},
    "a function": {"messages": BOSTON, "functions": [WEATHER["function"]]},
    "thinking": {"messages": BOSTON, "tools": [WEATHER], **THINKING},
    "thinking, required": {
        "messages": BOSTON,
        "tools": [STRICT],
        "tool_choice": "required",
        **THINKING,
    },
    "thinking, a function": {"messages": BOSTON, "functions": [WEATHER["function"]], **THINKING},
    "a format": {"messages": CAPITAL, "response_format": FORMAT},
    "thinking, a format": {"messages": CAPITAL, "response_format": FORMAT, **THINKING},
    "a call or a format": {"messages": BOSTON, "tools": [WEATHER], "response_format": FORMAT},
    "thinking, a call or a format": {
        "messages": BOSTON,
        "tools": [WEATHER],
        "response_format": FORMAT,
        **THINKING,
    },
    "just thinking": {"messages": user("What is 2 + 3?"), **THINKING},
    "several": {"messages": BOSTON, "tools": [WEATHER], "n": 3},
    "several, thinking": {"messages": BOSTON, "tools": [WEATHER], "n": 3, **THINKING},
    "several, required": {"messages": BOSTON, "tools": [TIME], "tool_choice": "required", "n": 3},
    "stopped": {"messages": BOSTON, "tools": [WEATHER], "stop": ["ston", "get_"]},
    "stopped thinking": {"messages": BOSTON, "tools": [WEATHER], "stop": ["will"], **THINKING},
    "emoji": {"messages": user("Send me three emoji"), "tools": [WEATHER]},
}
SAMPLING: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "sampled": {"seed": 11},
    "wild": {"seed": 4, "temperature": 1.8},
    "logprobs": {"seed": 12, **LOGPROBS},
    "cut": {"seed": 13, "max_tokens": 9},
}


def _twice_the_same() -> list[tuple[str, str]]:
    """Sampling and requests whose answer is the same twice.

    Decodes of several sequences are padded and split by what they were seen to take, and kernels
    for other numbers of rows round differently. What is drawn by chance shows it now and then.
    """
    return [
        (sampling, request_name)
        for sampling in SAMPLING
        for request_name, fields in REQUESTS.items()
        if sampling == "greedy" or "n" not in fields
    ]


@pytest.mark.sweep(1)
@pytest.mark.parametrize(("sampling", "request_name"), _twice_the_same())
def test_stream_and_body_agree(server: Server, request_name: str, sampling: str) -> None:
    fields = {"max_tokens": 80, **REQUESTS[request_name], **SAMPLING[sampling]}

    asked = both(server, **fields)

    for answer in asked.agree():
        assert answer["finish_reason"] in ("stop", "length", "tool_calls", "function_call")
        is_made = bool(answer["tool_calls"] or answer["function_call"])
        assert is_made or answer["finish_reason"] in ("stop", "length")


@pytest.mark.sweep(1)
@pytest.mark.parametrize("request_name", REQUESTS)
def test_every_token_has_its_log_probability_once(server: Server, request_name: str) -> None:
    fields = {"max_tokens": 80, "temperature": 0, **REQUESTS[request_name], **LOGPROBS}

    asked = both(server, **fields)

    n_tokens = 0
    for choice in asked.body.choices:
        assert choice.logprobs is not None
        assert choice.logprobs.content is not None
        n_tokens += len(choice.logprobs.content)
        streamed = [
            entry.token
            for chunk in asked.chunks
            for part in chunk.choices
            if part.index == choice.index and part.logprobs is not None
            for entry in part.logprobs.content or ()
        ]
        assert streamed == [entry.token for entry in choice.logprobs.content]
    assert asked.body.usage is not None
    n_ends = asked.body.usage.completion_tokens - n_tokens
    assert 0 <= n_ends <= len(asked.body.choices), "ends have none"


@pytest.mark.parametrize("thinks", [False, True])
def test_a_call_begins_with_its_id_and_name(server: Server, thinks: bool) -> None:
    fields: dict[str, Any] = {"messages": TWO_CITIES, "tools": [WEATHER], "temperature": 0}

    chunks = chat_chunks(server.chat(**fields, stream=True, **(THINKING if thinks else {})).text)

    first = chunks[0].choices[0].delta
    assert (first.role, first.content) == ("assistant", None)
    seen: list[int] = []
    for chunk in chunks[1:]:
        delta = chunk.choices[0].delta
        for call in delta.tool_calls or ():
            assert call.function is not None
            assert call.function.arguments is not None
            if call.index not in seen:
                assert call.index == len(seen)
                assert call.id is not None
                assert (call.type, call.function.name) == ("function", "get_weather")
                assert call.function.arguments == ""
                seen.append(call.index)
            else:
                assert call.index == seen[-1]
                assert (call.id, call.type, call.function.name) == (None, None, None)
        assert delta.role is None
        assert delta.content is None
    assert seen == [0, 1]
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_arguments_arrive_as_they_are_generated(server: Server) -> None:
    chunks = chat_chunks(
        server.chat(messages=BOSTON, tools=[WEATHER], temperature=0, stream=True).text
    )

    parts = [
        call.function.arguments
        for chunk in chunks
        for call in chunk.choices[0].delta.tool_calls or ()
        if call.function is not None and call.function.arguments
    ]

    assert len(parts) > 4
    assert json.loads("".join(parts)) == {"location": "Boston"}


@pytest.mark.slow
def test_choices_that_call_are_told_apart(server: Server) -> None:
    asked = both(
        server,
        messages=BOSTON,
        tools=[TIME],
        tool_choice="required",
        parallel_tool_calls=False,
        n=3,
        seed=2,
        temperature=1.5,
    )

    answers = asked.agree()
    arguments = [answer["tool_calls"][0]["function"]["arguments"] for answer in answers]
    assert len(set(arguments)) > 1
    ends = [
        choice.index for chunk in asked.chunks for choice in chunk.choices if choice.finish_reason
    ]
    assert sorted(ends) == [0, 1, 2]
