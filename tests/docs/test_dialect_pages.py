"""docs/responses.md and docs/messages.md name what the types of both clients' packages have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from anthropic import types as anthropic
from anthropic.types import message_create_params
from openai.types import responses as openai
from openai.types.responses import response_create_params, response_input_param, tool_param

from shared.protocol.anthropic.requests import MessagesRequest
from shared.protocol.openai.responses.requests import ResponsesRequest
from tests.app_server import AppServer

DOCS = Path(__file__).parents[2] / "docs"


def words(page: str) -> set[str]:
    """What a page has as code: whole, and the names that it consists of."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.M))
    return {*found, *(name for code in found for name in re.findall(r"\w+", code))}


def missing(page: str, wanted: set[str]) -> set[str]:
    """What a page does not name, by itself or by the beginning before a ``*``."""
    known = words(page)
    beginnings = tuple(
        code.removesuffix("*") for code in known if len(code) > 2 and code[-1] == "*"
    )
    return {name for name in wanted - known if not name.startswith(beginnings)}


def names(*schemas: Any) -> set[str]:
    """The fields of TypedDicts and models."""
    return {
        name
        for schema in schemas
        for name in getattr(schema, "model_fields", None) or get_type_hints(schema)
    }


def kinds(union: Any) -> Iterator[str]:
    """What the types in a union have as their ``type``."""
    args = get_args(union)
    fields = getattr(union, "model_fields", {})
    if "type" in getattr(union, "__annotations__", {}):
        stack = [fields["type"].annotation if fields else get_type_hints(union)["type"]]
        while stack:
            inner = stack.pop()
            if get_origin(inner) is Literal:
                yield from get_args(inner)
            else:
                stack += get_args(inner)
    elif get_origin(union) is not Literal:
        for inner in args:
            yield from kinds(inner)


RESPONSES = {
    "request": names(
        response_create_params.ResponseCreateParamsNonStreaming,
        response_create_params.ResponseCreateParamsStreaming,
    ),
    "items": {*kinds(response_input_param.ResponseInputItemParam)},
    "tools": {*kinds(tool_param.ToolParam)},
    "response": names(openai.Response),
    "usage": names(openai.ResponseUsage),
    "events": {*kinds(openai.ResponseStreamEvent)},
}
MESSAGES = {
    "request": names(
        message_create_params.MessageCreateParamsNonStreaming,
        message_create_params.MessageCreateParamsStreaming,
    ),
    "blocks": {*kinds(anthropic.ContentBlockParam)},
    "tools": names(anthropic.ToolParam),
    "message": names(anthropic.Message),
    "usage": names(anthropic.Usage),
    "events": {*kinds(anthropic.RawMessageStreamEvent)},
}


@pytest.mark.parametrize("what", RESPONSES)
def test_responses(what: str) -> None:
    assert RESPONSES[what]
    assert missing("responses.md", RESPONSES[what]) == set()


@pytest.mark.parametrize("what", MESSAGES)
def test_messages(what: str) -> None:
    assert MESSAGES[what]
    assert missing("messages.md", MESSAGES[what]) == set()


def test_fields_of_requests_are_on_the_pages() -> None:
    assert missing("responses.md", {*ResponsesRequest.model_fields}) == set()
    assert missing("messages.md", {*MessagesRequest.model_fields}) == set()


@pytest.mark.parametrize(
    ("path", "body", "unknown"),
    [
        (
            "/v1/responses",
            {"input": "Hi", "max_output_tokens": 1},
            RESPONSES["request"] - ResponsesRequest.model_fields.keys(),
        ),
        (
            "/v1/messages",
            {"max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]},
            MESSAGES["request"] - MessagesRequest.model_fields.keys(),
        ),
    ],
)
def test_fields_without_effect_are_named(
    start_app: AppServer, path: str, body: dict[str, Any], unknown: set[str]
) -> None:
    answer = start_app.http.post(path, json={**body, **{name: {"a": 1} for name in unknown}})
    assert answer.status_code == 200, answer.text
    assert {*answer.headers["x-ignored-params"].split(", ")} == unknown


@pytest.fixture
def start_app(tmp_path: Path) -> Iterator[AppServer]:
    """The app with the built-in model."""
    server = AppServer(tmp_path / "app.log")
    yield server
    server.stop()
