"""docs/api.md, rows of responses: what each field has in it, and which ones never come."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from functools import lru_cache
from itertools import chain
from typing import Any

import pytest

from tests.api.conformance import OSLO, THINK, WEATHER, WEATHER_TOOL, values
from tests.api.openai_types import (
    chat_chunks,
    chat_completion,
    events,
    text_chunks,
    text_completion,
)
from tests.docs.api_page import Row, rows
from tests.server import Server, user

RESPONSES = ("chat.body", "chat.chunk", "text.body")
USAGE = {"stream_options": {"include_usage": True}}

SAMPLES: dict[str, dict[str, Any]] = {
    "plain": {"temperature": 0},
    "short": {"max_tokens": 3, "n": 2},
    "tier": {"service_tier": "fast", "max_tokens": 1},
    "timed": {"timings_per_token": True, "return_progress": True, "cache_prompt": False},
    "verbose": {"verbose": True, "max_tokens": 1},
    "emoji": {"temperature": 0, "logprobs": True, "top_logprobs": 2},
    "alternatives": {"temperature": 0, "logprobs": True, "top_logprobs": 20},
    "thinking": {**THINK, "temperature": 0, "max_tokens": 80},
    "tools": {"messages": OSLO, "tools": [WEATHER_TOOL], "temperature": 0, "max_tokens": 60},
    "functions": {"messages": OSLO, "functions": [WEATHER], "temperature": 0, "max_tokens": 60},
    "scores": {"echo": True, "logprobs": 2, "temperature": 0},
    "several": {"prompt": ["Once", "The"], "n": 2, "max_tokens": 3},
    "cached": {"temperature": 0, "n": 2, "max_tokens": 4},
}
"""Requests whose responses together have every field."""
SAMPLES["emoji"]["messages"] = user("Send me three emoji")
SAMPLES["cached"]["messages"] = user("A list: " + "lamp, stove, pilot, " * 30)
SAMPLES["cached"]["prompt"] = SAMPLES["cached"]["messages"][0]["content"]
TEXT_SAMPLES = ("plain", "short", "tier", "timed", "verbose", "scores", "several", "cached")
CHAT_SAMPLES = tuple(name for name in SAMPLES if name not in ("scores", "several"))

ELSEWHERE = ("usage.cost", "usage.prompt_tokens_details.cache_write_tokens")
"""Fields that only requests of a project, or with a store of prefixes have: `test_usage_cost` and
`test_prefix_store` are about these."""

Check = Callable[[list[Any]], bool]


def each(holds: Callable[[Any], bool]) -> Check:
    """Whether it holds for every value."""
    return lambda found: all(holds(value) for value in found)


def among(*expected: Any) -> Check:
    """Whether these are the values, however often, and null where nothing is said."""
    return lambda found: {value for value in found if value is not None} == {*expected}


def number(low: float = 0) -> Check:
    """Whether all values are finite numbers that are not below ``low``."""
    return each(lambda value: isinstance(value, int | float) and low <= value < math.inf)


def text(found: list[Any]) -> bool:
    """Whether all values are texts, and some of them not empty."""
    return all(isinstance(value, str) for value in found) and any(found)


def columns(holds: Callable[[list[Any]], bool]) -> Check:
    """Whether it holds for the columns of all chunks together."""
    return lambda found: holds(list(chain.from_iterable(column or () for column in found)))


def joined(expected: str) -> Check:
    """Whether the pieces make a text."""
    return lambda found: "".join(value or "" for value in found) == expected


here: Check = bool
CITY_JSON = '{"city": "Oslo"}'
NOW = each(lambda value: abs(value - time.time()) < 600)
BYTES = each(lambda value: value is None or bytes(value) != b"")
LOGPROB = each(lambda value: value is None or -100 < value <= 0)
FINISHED = each(lambda value: value is None or value == "stop")

USAGE_ROWS: dict[str, tuple[str, Check]] = {
    "usage": ("plain", here),
    "usage.prompt_tokens": ("plain", number(1)),
    "usage.completion_tokens": ("cached", among(8)),
    "usage.total_tokens": ("plain", number(2)),
    "usage.prompt_tokens_details": ("plain", here),
    "usage.prompt_tokens_details.cached_tokens": ("cached", number(50)),
    "usage.prompt_tokens_details.audio_tokens": ("plain", among(0)),
    "usage.completion_tokens_details": ("plain", here),
    "usage.completion_tokens_details.reasoning_tokens": ("plain", among(0)),
    "usage.completion_tokens_details.audio_tokens": ("plain", among(0)),
    "usage.completion_tokens_details.accepted_prediction_tokens": ("plain", among(0)),
    "usage.completion_tokens_details.rejected_prediction_tokens": ("plain", among(0)),
    "created": ("plain", NOW),
    "model": ("plain", among("pilotlight-builtin")),
    "system_fingerprint": ("plain", each(lambda value: value.startswith("fp_"))),
    "choices": ("plain", here),
}
LOGPROB_ROWS: dict[str, tuple[str, Check]] = {
    "choices[].logprobs": ("emoji", here),
    "choices[].logprobs.content": ("emoji", here),
    "choices[].logprobs.content[].token": ("emoji", lambda found: "\ufffd" in found),
    "choices[].logprobs.content[].logprob": ("emoji", LOGPROB),
    "choices[].logprobs.content[].bytes": ("emoji", BYTES),
    "choices[].logprobs.content[].top_logprobs": ("emoji", each(lambda value: len(value) == 2)),
    "choices[].logprobs.content[].top_logprobs[].token": ("emoji", text),
    "choices[].logprobs.content[].top_logprobs[].logprob": ("emoji", LOGPROB),
    "choices[].logprobs.content[].top_logprobs[].bytes": (
        "alternatives",
        lambda found: BYTES(found) and None in found,  # control tokens
    ),
}
CALL = "choices[].message.tool_calls[function]"
DELTA_CALL = "choices[].delta.tool_calls[function]"
CALL_ID = each(lambda value: value is None or value.startswith("call_"))

EXPECTED: dict[str, dict[str, tuple[str, Check]]] = {
    "chat.body": {
        **USAGE_ROWS,
        **LOGPROB_ROWS,
        "id": ("plain", each(lambda value: value.startswith("chatcmpl-"))),
        "object": ("plain", among("chat.completion")),
        "service_tier": ("tier", among("priority")),
        "usage.completion_tokens_details.reasoning_tokens": ("thinking", number(10)),
        "choices[].index": ("short", among(0, 1)),
        "choices[].finish_reason": ("tools", among("tool_calls")),
        "choices[].message": ("plain", here),
        "choices[].message.role": ("plain", among("assistant")),
        "choices[].message.content": ("plain", text),
        "choices[].message.tool_calls": ("tools", here),
        f"{CALL}.id": ("tools", CALL_ID),
        f"{CALL}.type": ("tools", among("function")),
        f"{CALL}.function": ("tools", here),
        f"{CALL}.function.name": ("tools", among("get_weather")),
        f"{CALL}.function.arguments": ("tools", among(CITY_JSON)),
        "choices[].message.function_call": ("functions", here),
        "choices[].message.function_call.name": ("functions", among("get_weather")),
        "choices[].message.function_call.arguments": ("functions", among(CITY_JSON)),
    },
    "chat.body+": {
        "choices[].message.reasoning_content": ("thinking", text),
        "timings…": ("timed", each(lambda value: value["predicted_ms"] > 0)),
        "__verbose…": ("verbose", each(lambda value: value["stop_type"] == "limit")),
    },
    "chat.chunk": {
        **USAGE_ROWS,
        **LOGPROB_ROWS,
        "id": ("plain", lambda found: len({*found}) == 1 and found[0].startswith("chatcmpl-")),
        "object": ("plain", among("chat.completion.chunk")),
        "service_tier": ("tier", among("priority")),
        "usage": ("plain", lambda found: found[-1] and {*map(type, found[:-1])} == {type(None)}),
        "usage.completion_tokens_details.reasoning_tokens": ("thinking", number(10)),
        "choices[].index": ("short", among(0, 1)),
        "choices[].finish_reason": ("tools", among("tool_calls")),
        "choices[].delta": ("plain", lambda found: found[-1] == {}),
        "choices[].delta.role": ("plain", among("assistant")),
        "choices[].delta.content": ("plain", text),
        "choices[].delta.tool_calls": ("tools", here),
        f"{DELTA_CALL}.index": ("tools", among(0)),
        f"{DELTA_CALL}.id": ("tools", lambda found: len(found) == 1 and CALL_ID(found)),
        f"{DELTA_CALL}.type": ("tools", among("function")),
        f"{DELTA_CALL}.function": ("tools", here),
        f"{DELTA_CALL}.function.name": ("tools", lambda found: found == ["get_weather"]),
        f"{DELTA_CALL}.function.arguments": ("tools", joined(CITY_JSON)),
        "choices[].delta.function_call": ("functions", here),
        "choices[].delta.function_call.name": ("functions", lambda found: found == ["get_weather"]),
        "choices[].delta.function_call.arguments": ("functions", joined(CITY_JSON)),
    },
    "chat.chunk+": {
        "choices[].delta.reasoning_content": ("thinking", text),
        "timings…": ("timed", each(lambda value: value["prompt_n"] > 5)),
        "__verbose…": ("verbose", each(lambda value: value["stop_type"] == "limit")),
        "prompt_progress…": (
            "timed",
            each(lambda value: value.keys() == {"total", "cache", "processed", "time_ms"}),
        ),
    },
    "text.body": {
        **USAGE_ROWS,
        "id": ("plain", each(lambda value: value.startswith("cmpl-"))),
        "object": ("plain", among("text_completion")),
        "choices[].index": ("several", among(0, 1, 2, 3)),
        "choices[].text": ("scores", lambda found: "".join(found).startswith("Once upon a time")),
        "choices[].finish_reason": ("plain", among("length")),
        "choices[].logprobs": ("scores", here),
        "choices[].logprobs.tokens": ("scores", columns(lambda tokens: tokens[0] == "Once")),
        "choices[].logprobs.token_logprobs": ("scores", columns(LOGPROB)),
        "choices[].logprobs.top_logprobs": (
            "scores",
            columns(lambda tops: tops[0] is None and {len(top) for top in tops[1:] if top} == {2}),
        ),
        "choices[].logprobs.text_offset": ("scores", columns(lambda column: column[0] == 0)),
    },
    "text.body+": {
        "service_tier": ("tier", among("priority")),
        "timings…": ("timed", each(lambda value: value["predicted_n"] >= 1)),
        "__verbose…": ("verbose", each(lambda value: value["stop_type"] == "limit")),
        "prompt_progress…": ("timed", each(lambda value: value["total"] > 0)),
    },
}
"""For each row the sample that shows it, and what its values there have to be."""


@lru_cache(maxsize=64)
def sample(server: Server, surface: str, name: str) -> list[Any]:
    """Bodies of a kind of response, parsed strictly; for text completions the chunks, too."""
    ask = server.text if surface == "text.body" else server.chat
    other = "messages" if surface == "text.body" else "prompt"
    fields = {key: value for key, value in SAMPLES[name].items() if key != other}

    def answer(**more: Any) -> str:
        return ask(**{"max_tokens": 40, **fields, **more}).raise_for_status().text

    if name == "cached":
        answer(max_tokens=1)
    if surface == "chat.body":
        body = answer()
        chat_completion(body)
        return [json.loads(body)]
    stream = answer(**USAGE, stream=True)
    chunks = [json.loads(event) for event in events(stream)]
    if surface == "chat.chunk":
        chat_chunks(stream)
        return chunks
    body = answer()
    text_completion(body)
    text_chunks(stream)
    return [json.loads(body), *chunks]


def response_rows(*statuses: str) -> list[Any]:
    """The rows of responses that have one of the statuses."""
    surfaces = [*RESPONSES, *(f"{surface}+" for surface in RESPONSES)]
    found = [row for row in rows(*surfaces) if row.status in statuses and row.path not in ELSEWHERE]
    return [pytest.param(row, id=row.key) for row in found]


@pytest.mark.sweep(2)
@pytest.mark.parametrize("row", response_rows("supported"))
def test_a_supported_field_has_its_value(server: Server, row: Row) -> None:
    name, holds = EXPECTED[row.surface][row.path]
    bodies = sample(server, row.surface.removesuffix("+"), name)
    if row.path.startswith("usage") and row.path != "usage":
        bodies = [body for body in bodies if body.get("usage")]

    found = [value for body in bodies for value in values(body, row.path)]

    assert any(value is not None for value in found)
    assert holds(found), found


@pytest.mark.parametrize("row", response_rows("absent", "null"))
def test_an_absent_field_never_comes(server: Server, row: Row) -> None:
    names = TEXT_SAMPLES if row.surface.startswith("text") else CHAT_SAMPLES
    bodies = [body for name in names for body in sample(server, row.surface, name)]

    found = [value for body in bodies for value in values(body, row.path)]

    assert found == [] if row.status == "absent" else {*found} == {None}


def test_every_expectation_is_about_a_row() -> None:
    expected = {f"{surface} {path}" for surface, paths in EXPECTED.items() for path in paths}
    assert expected == {parameter.id for parameter in response_rows("supported")}


def test_only_known_reasons_end_a_choice(server: Server) -> None:
    reasons = {
        reason
        for name in CHAT_SAMPLES
        for body in sample(server, "chat.body", name)
        for reason in values(body, "choices[].finish_reason")
    }
    assert reasons == {"stop", "length", "tool_calls", "function_call"}
