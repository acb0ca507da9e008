"""A pilotlight as another one's upstream, in adapter mode: what the one answers the other does."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from tests.api.tools import BOSTON, CALL, WEATHER
from tests.rounding import LOGPROB_ROUNDING
from tests.server import CAPITAL, ServerProcess

GREEDY: dict[str, Any] = {"temperature": 0, "seed": 7}
BEHIND: dict[str, Any] = {"model": "behind"}


@pytest.fixture(scope="module")
def front(server: ServerProcess, log_directory: Path) -> Iterator[ServerProcess]:
    """A server without a model, whose upstream is the one with the built-in model."""
    section = {"upstream": f"{server.url}/v1", "mode": "adapter", "model": server.model}
    models = json.dumps({"behind": section})
    found = ServerProcess(
        log_directory / "front.log", "--model", "none", "--models", models, new_interpreter=True
    )
    yield found
    found.stop()


def message_of(client: OpenAI, **fields: Any) -> dict[str, Any]:
    """What a client makes of an answer, without what differs from one to the next."""
    answer = client.chat.completions.create(**GREEDY, **fields)
    choices = answer.model_dump(exclude={"choices": {"__all__": {"message": {"tool_calls"}}}})
    calls = [call.model_dump(exclude={"id"}) for call in answer.choices[0].message.tool_calls or ()]
    return {"choices": choices["choices"], "calls": calls, "usage": choices["usage"]}


def are_alike(found: Any, expected: Any) -> bool:
    """Whether both are the same, but for the last digits of log probabilities."""
    if isinstance(expected, float):
        return math.isclose(found, expected, abs_tol=LOGPROB_ROUNDING)
    if isinstance(expected, dict) and found.keys() == expected.keys():
        return all(are_alike(found[key], expected[key]) for key in expected)
    if isinstance(expected, list) and len(found) == len(expected):
        return all(map(are_alike, found, expected))
    return bool(found == expected)


def streamed(client: OpenAI, **fields: Any) -> list[Any]:
    """The choices of a stream's chunks, pieces of text joined."""
    options: Any = {"include_usage": True}
    with client.chat.completions.create(
        **GREEDY, stream=True, stream_options=options, **fields
    ) as chunks:
        found = [chunk.model_dump() for chunk in chunks]
    choices = [chunk["choices"][0] for chunk in found if chunk["choices"]]
    assert found[-1]["usage"]["total_tokens"] > 0
    return [
        "".join(choice["delta"]["content"] or "" for choice in choices),
        choices[0]["delta"],
        choices[-1]["finish_reason"],
        {name: found[-1]["usage"][name] for name in ("prompt_tokens", "completion_tokens")},
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": CAPITAL},
        {"messages": CAPITAL, "n": 2, "max_tokens": 4, "logprobs": True, "top_logprobs": 2},
        {"messages": BOSTON, "tools": [WEATHER], "tool_choice": "required"},
        {
            "messages": CAPITAL,
            "max_tokens": 200,
            "response_format": {
                "type": "json_schema",
                "json_schema": {
                    "name": "city",
                    "schema": {
                        "type": "object",
                        "properties": {"city": {"enum": ["Paris", "Rome"]}},
                        "required": ["city"],
                        "additionalProperties": False,
                    },
                },
            },
        },
    ],
    ids=["text", "choices", "tools", "schema"],
)
def test_answers_are_alike(
    front: ServerProcess, server: ServerProcess, fields: dict[str, Any]
) -> None:
    own = message_of(server.openai(), model=server.model, **fields)
    found = message_of(front.openai(), **BEHIND, **fields)
    for each in (own, found):  # which prefix was cached is another matter
        del each["usage"]["prompt_tokens_details"]
    assert are_alike(found, own)
    if "response_format" in fields:
        assert json.loads(found["choices"][0]["message"]["content"])["city"] in ("Paris", "Rome")


def test_streams_are_alike(front: ServerProcess, server: ServerProcess) -> None:
    own = streamed(server.openai(), model=server.model, messages=CAPITAL)
    assert streamed(front.openai(), **BEHIND, messages=CAPITAL) == own
    assert "Paris" in own[0]


def test_streamed_tool_calls(front: ServerProcess) -> None:
    tools: Any = [WEATHER]
    messages: Any = BOSTON
    with front.openai().chat.completions.stream(
        **BEHIND, messages=messages, tools=tools, tool_choice="required", temperature=0
    ) as chunks:
        for _ in chunks:
            pass
        (choice,) = chunks.get_final_completion().choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    function = choice.message.tool_calls[0].function
    assert (function.name, json.loads(function.arguments)) == CALL


def test_texts_are_alike(front: ServerProcess, server: ServerProcess) -> None:
    fields: dict[str, Any] = {"prompt": ["Once", "The"], "max_tokens": 4, "logprobs": 1, **GREEDY}
    own = server.openai().completions.create(model=server.model, **fields)
    found = front.openai().completions.create(**BEHIND, **fields)
    assert are_alike(
        [choice.model_dump() for choice in found.choices],
        [choice.model_dump() for choice in own.choices],
    )
    assert found.id.startswith("cmpl-")


def test_mistakes_are_said_in_the_same_words(front: ServerProcess, server: ServerProcess) -> None:
    for fields in ({"temperature": 3}, {"logit_bias": {"x": 1}}):
        own, found = server.chat(**fields), front.chat(**BEHIND, **fields)
        assert (own.status_code, found.status_code) == (400, 400)
        told, own_told = found.json()["error"], own.json()["error"]
        assert (told["message"], told["param"]) == (own_told["message"], own_told["param"])


def test_a_server_without_a_model_needs_no_engine_for_it(front: ServerProcess) -> None:
    front.chat(**BEHIND).raise_for_status()
    maps = Path(f"/proc/{front.process.pid}/maps")
    if maps.exists():
        assert not re.search("llama|numpy|awscrt", maps.read_text())
