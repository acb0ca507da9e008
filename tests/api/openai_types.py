"""Parsing with the `openai` package's types, strictly: wrong types and unknown fields fail."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from shared.protocol.openai import chunks

ModelT = TypeVar("ModelT", bound=BaseModel)

BEYOND_TYPES: dict[str, set[str]] = {
    "ChatCompletion": {"timings", "__verbose"},
    "ChatCompletionMessage": {"reasoning_content"},
    "ChatCompletionChunk": {"timings", "prompt_progress", "__verbose"},
    "ChoiceDelta": {"reasoning_content"},
    "Completion": {"service_tier", "timings", "prompt_progress", "__verbose"},
    "CompletionUsage": {"cost"},
}
"""Fields that OpenAI's types do not have. docs/api.md says what they are."""


def parse_strictly(schema: type[ModelT], data: str | bytes) -> ModelT:
    """``data`` as ``schema``; fails where OpenAI's own types would have to look away."""
    parsed = schema.model_validate_json(data, strict=True)
    _refuse_extras(parsed)
    return parsed


def chat_completion(data: str | bytes) -> ChatCompletion:
    """A chat completion's body."""
    return parse_strictly(ChatCompletion, data)


def text_completion(data: str | bytes) -> Completion:
    """A text completion's body.

    Its type knows no null among log probabilities, though the first token of an echoed prompt has
    none: such a body is parsed with others there, then gets its nulls back.
    """
    raw = json.loads(data)
    scored = [choice for choice in raw["choices"] if _begins_with_null(choice)]
    for choice in scored:
        choice["logprobs"]["token_logprobs"][0] = 0.0
        choice["logprobs"]["top_logprobs"][0] = {}
    parsed = parse_strictly(Completion, json.dumps(raw))
    for choice, of_choice in zip(raw["choices"], parsed.choices, strict=True):
        if choice in scored:
            of_choice.logprobs.token_logprobs[0] = None  # type: ignore
            of_choice.logprobs.top_logprobs[0] = None  # type: ignore
    return parsed


def _begins_with_null(choice: dict[str, Any]) -> bool:
    logprobs = choice["logprobs"]
    return logprobs is not None and logprobs["token_logprobs"][:1] == [None]


def chat_chunks(body: str) -> list[ChatCompletionChunk]:
    """All chunks of a chat stream. They are also as the OpenAPI document has them."""
    found = events(body)
    for event in found:
        chunks.ChatCompletionChunk.model_validate_json(event, strict=True, extra="forbid")
    return [parse_strictly(ChatCompletionChunk, event) for event in found]


def text_chunks(body: str) -> list[Completion]:
    """All chunks of a text stream. They are also as the OpenAPI document has them.

    Their type knows no null finish reason, though OpenAI's own chunks have it until the last:
    such a chunk is parsed with a reason, then gets its null back.
    """
    parsed_chunks: list[Completion] = []
    for event in events(body):
        chunks.TextCompletionChunk.model_validate_json(event, strict=True, extra="forbid")
        raw = json.loads(event)
        open_choices = [c for c in raw["choices"] if c["finish_reason"] is None]
        for choice in open_choices:
            choice["finish_reason"] = "stop"
        chunk = text_completion(json.dumps(raw))
        for choice, parsed in zip(raw["choices"], chunk.choices, strict=True):
            if choice in open_choices:
                parsed.finish_reason = None  # type: ignore[assignment]
        parsed_chunks.append(chunk)
    return parsed_chunks


def events(body: str) -> list[str]:
    """The data of a stream's events, of which ``[DONE]`` is the last and left out."""
    assert body.endswith("\n\n")
    blocks = body.removesuffix("\n\n").split("\n\n")
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks), body
    data = [block.removeprefix("data: ") for block in blocks]
    assert data[-1] == "[DONE]"
    assert "[DONE]" not in data[:-1]
    return data[:-1]


def _refuse_extras(value: Any) -> None:
    if isinstance(value, BaseModel):
        name = type(value).__name__
        extras = set(value.model_extra or ()) - BEYOND_TYPES.get(name, set())
        assert not extras, f"{name} has no fields {sorted(extras)}"
        for field in type(value).model_fields:
            _refuse_extras(getattr(value, field))
    elif isinstance(value, list):
        for item in value:
            _refuse_extras(item)
