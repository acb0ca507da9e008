"""Requests of the Responses API."""

from __future__ import annotations

from typing import Any

from openai import OpenAI
from openai.types.responses import (
    Response,
)

MODEL = "pilotlight-builtin"


QUESTION = "What is the capital of France?"


WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


def ask(client: OpenAI, given: Any = QUESTION, **fields: Any) -> Response:
    defaults = {"model": MODEL, "temperature": 0, "max_output_tokens": 16}
    answer = client.responses.create(**{**defaults, "input": given, **fields})
    assert isinstance(answer, Response)
    return answer


def streamed(client: OpenAI, given: Any = QUESTION, **fields: Any) -> tuple[list[Any], Response]:
    """The events, and the response that they add up to."""
    defaults = {"model": MODEL, "temperature": 0, "max_output_tokens": 16}
    with client.responses.stream(**{**defaults, "input": given, **fields}) as stream:
        events: list[Any] = list(stream)
    return events, events[-1].response
