"""The OpenAPI document: whole, consistent, and true to the models that validate."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from fastapi.openapi import utils

from functions.http.app import create_app
from functions.http.routing import PostRoute
from shared.config.settings import Settings
from shared.protocol.llama_cpp.requests import DetokenizeRequest, LlamaCppRequest, TokenizeRequest
from shared.protocol.openai.chat_completions import ChatCompletionRequest
from shared.protocol.openai.completions import CompletionRequest
from shared.runtime.loader import ModelLoader

SETTINGS = Settings()
APP = create_app(SETTINGS, ModelLoader(SETTINGS)).resources()
DOCUMENT: dict[str, Any] = json.loads(json.dumps(APP.openapi()))
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]


def references(value: object) -> Iterator[str]:
    """All of a document's references."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


@pytest.mark.slow
@pytest.mark.anyio
async def test_it_is_not_made_on_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which would send nothing of any stream meanwhile."""
    makers: list[threading.Thread] = []

    make = utils.get_openapi

    def note_and_make(**fields: Any) -> dict[str, Any]:
        makers.append(threading.current_thread())
        return make(**fields)

    monkeypatch.setattr(utils, "get_openapi", note_and_make)
    app = create_app(SETTINGS, ModelLoader(SETTINGS)).resources()
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answers = await asyncio.gather(*(client.get("/openapi.json") for _ in range(3)))
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len(makers) == 1
    assert makers[0] is not threading.current_thread()


def test_the_head_is_openapis() -> None:
    assert re.fullmatch(r"3\.1\.\d", DOCUMENT["openapi"])
    assert DOCUMENT["info"].keys() >= {"title", "version", "description"}


def test_every_reference_leads_to_a_schema() -> None:
    prefix = "#/components/schemas/"
    names = {reference.removeprefix(prefix) for reference in references(DOCUMENT)}
    assert names <= SCHEMAS.keys()


def test_every_endpoint_that_reads_its_own_body_is_described() -> None:
    routes = {route.path for route in APP.router.routes if isinstance(route, PostRoute)}
    described = {path for path, method in OPERATIONS if method == "post"}
    other_names = {"/completions": "/completion", "/chat/completions": "/v1/chat/completions"}
    assert routes - other_names.keys() <= described
    assert set(other_names.values()) <= described


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_operation_is_whole(path: str, method: str) -> None:
    operation = DOCUMENT["paths"][path][method]
    assert operation["tags"]
    assert operation["summary"]
    assert operation["responses"]["200"]["description"]
    named = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
    assert named == set(re.findall(r"{(\w+)", path))


def test_operations_have_names_of_their_own() -> None:
    names = [DOCUMENT["paths"][path][method]["operationId"] for path, method in OPERATIONS]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"\w+", name) for name in names)


@pytest.mark.parametrize(
    "schema",
    [
        ChatCompletionRequest,
        CompletionRequest,
        LlamaCppRequest,
        TokenizeRequest,
        DetokenizeRequest,
    ],
)
def test_examples_are_requests(schema: type[Any]) -> None:
    examples = SCHEMAS[schema.__name__]["examples"]
    assert examples
    for example in examples:
        assert not schema.model_validate_json(json.dumps(example)).ignored_params


def test_a_message_may_have_calls_and_reasoning() -> None:
    message = SCHEMAS["ChatMessage"]
    assert message["properties"].keys() == {
        *("role", "content", "refusal", "reasoning_content", "tool_calls", "function_call")
    }
    assert set(message["required"]) == {"content"}
    (name,) = references(message["properties"]["tool_calls"])
    call = SCHEMAS[name.rpartition("/")[2]]
    assert call["properties"].keys() == {"id", "type", "function"}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/completion"])
def test_answers_are_a_body_or_a_stream(path: str) -> None:
    answer = DOCUMENT["paths"][path]["post"]["responses"]["200"]
    assert answer["content"].keys() == {"application/json", "text/event-stream"}


@pytest.mark.parametrize(
    ("path", "events"),
    [
        ("/v1/chat/completions", ["ChatCompletionChunk"]),
        ("/v1/completions", ["TextCompletionChunk"]),
        ("/completion", ["LlamaCppChunk", "LlamaCppCompletion"]),
    ],
)
def test_the_events_of_a_stream_have_types(path: str, events: list[str]) -> None:
    content = DOCUMENT["paths"][path]["post"]["responses"]["200"]["content"]
    data = content["text/event-stream"]["itemSchema"]["properties"]["data"]
    assert data["contentMediaType"] == "application/json"
    assert list(references(data)) == [f"#/components/schemas/{name}" for name in events]


def test_only_answers_that_can_happen_are_there() -> None:
    for path, method in OPERATIONS:
        responses = DOCUMENT["paths"][path][method]["responses"]
        assert "422" not in responses
        for status in responses.keys() - {"200"}:
            assert list(references(responses[status])) == ["#/components/schemas/ErrorEnvelope"]
            assert responses[status]["content"].keys() == {"application/json"}
    assert not {"HTTPValidationError", "ValidationError"} & SCHEMAS.keys()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize(
    ("below", "method", "model", "failures"),
    [
        ("", "get", "Stored{}CompletionList", {"400", "401", "404", "503"}),
        ("/{completion_id}", "get", "Stored{}Completion", {"401", "404", "503"}),
        ("/{completion_id}", "post", "Stored{}Completion", {"400", "401", "404", "413", "503"}),
        ("/{completion_id}", "delete", "DeletedCompletion", {"401", "404", "503"}),
        ("/{completion_id}/messages", "get", "StoredMessageList", {"400", "401", "404", "503"}),
    ],
)
def test_stored_completions_have_types(
    path: str, below: str, method: str, model: str, failures: set[str]
) -> None:
    responses = DOCUMENT["paths"][path + below][method]["responses"]
    name = model.format("Chat" if "chat" in path else "Text")
    assert list(references(responses["200"])) == [f"#/components/schemas/{name}"]
    assert responses.keys() == {"200"} | failures


def test_a_models_failures_are_told() -> None:
    responses = DOCUMENT["paths"]["/v1/models/{model}"]["get"]["responses"]
    assert responses.keys() == {"200", "401", "404", "503"}


def test_a_limit_is_an_integer() -> None:
    for path in ("/v1/chat/completions", "/v1/completions/{completion_id}/messages"):
        parameters = DOCUMENT["paths"][path]["get"]["parameters"]
        (limit,) = [p["schema"] for p in parameters if p["name"] == "limit"]
        assert (limit["type"], limit["minimum"], limit["maximum"]) == ("integer", 1, 100)


def test_filters_are_written_in_brackets() -> None:
    parameters = DOCUMENT["paths"]["/v1/chat/completions"]["get"]["parameters"]
    (metadata,) = [p for p in parameters if p["name"] == "metadata"]
    assert (metadata["style"], metadata["explode"]) == ("deepObject", True)
    below = DOCUMENT["paths"]["/v1/chat/completions/{completion_id}/messages"]["get"]
    assert [p["name"] for p in below["parameters"]] == ["completion_id", "after", "limit", "order"]


def test_only_what_is_public_needs_no_key() -> None:
    assert DOCUMENT["security"] == [{"apiKey": []}]
    without = [path for path, method in OPERATIONS if "security" in DOCUMENT["paths"][path][method]]
    assert without == ["/health"]


def test_integers_have_integers_for_bounds() -> None:
    assert not re.search(r'"(exclusive)?(minimum|maximum)": -?\d+\.0\b', json.dumps(DOCUMENT), re.I)
    seed = SCHEMAS["ChatCompletionRequest"]["properties"]["seed"]["anyOf"][0]
    assert (seed["minimum"], seed["exclusiveMaximum"]) == (-(2**63), 2**64)


@pytest.mark.parametrize("name", ["MetadataUpdate", "ErrorEnvelope", "Health"])
def test_resources_have_examples(name: str) -> None:
    assert SCHEMAS[name]["examples"]


def test_texts_are_prose_in_markdown() -> None:
    assert "``" not in json.dumps(DOCUMENT)
    for path, method in OPERATIONS:
        operation = DOCUMENT["paths"][path][method]
        assert not re.fullmatch(r"([A-Z][a-z]+ ?)+", operation["summary"]), "a function's name"
        assert operation["responses"]["200"]["description"] != "Successful Response"
