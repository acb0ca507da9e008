"""Traces of completions, through the whole app."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from functions.http.app import create_app
from shared.config.settings import Settings
from shared.runtime.loader import ModelLoader
from tests.otlp import Receiver, Span, receiver
from tests.server import CAPITAL

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
MODEL = "pilotlight-builtin"

Ask = Callable[..., tuple[Any, dict[str, Span]]]


@pytest.fixture(scope="module")
def loader() -> Iterator[ModelLoader]:
    loader = ModelLoader(Settings(store="none", parallel=4, threads=1))
    loader.start()
    loader.wait()
    yield loader
    loader.close()


@pytest.fixture
def traces(stand_ins: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiver() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        yield found


@pytest.fixture
def ask(traces: Receiver, loader: ModelLoader) -> Ask:
    """The response to a request, and the spans of it."""

    def ask(
        path: str, body: dict[str, Any], headers: dict[bytes, bytes] | None = None
    ) -> tuple[Any, dict[str, Span]]:
        app = create_app(Settings(store="none"), loader)
        http = TestClient(app)
        response = http.post(path, json=body, headers=headers)
        app.state.server.tracing.close()
        return response, {span.name: span for span in traces.take()}

    return ask


def test_a_chat_completion(ask: Ask) -> None:
    fields = {"temperature": 0, "seed": 5, "stop": ["\n\n"], "max_tokens": 7, "n": 2}
    response, spans = ask(CHAT, {"messages": CAPITAL, **fields})

    body = response.json()
    attributes = spans[f"chat {MODEL}"].attributes
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "pilotlight",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.max_tokens": 7,
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.top_p": 1.0,
        "gen_ai.request.seed": 5,
        "gen_ai.request.choice.count": 2,
        "gen_ai.request.stop_sequences": ["\n\n"],
        "gen_ai.response.model": MODEL,
        "gen_ai.response.id": body["id"],
        "gen_ai.response.finish_reasons": [each["finish_reason"] for each in body["choices"]],
        "gen_ai.usage.input_tokens": body["usage"]["prompt_tokens"],
        "gen_ai.usage.cache_read.input_tokens": attributes["gen_ai.usage.cache_read.input_tokens"],
        "gen_ai.usage.output_tokens": body["usage"]["completion_tokens"],
    }
    assert "capital" not in repr(spans)
    assert "Paris" not in repr(spans)


@pytest.mark.parametrize(
    ("path", "body", "operation"),
    [
        (CHAT, {"messages": CAPITAL}, "chat"),
        (TEXT, {"prompt": ["Once", "Twice"]}, "text_completion"),
        ("/completion", {"prompt": "Once"}, "text_completion"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_every_dialect_says_how_its_choices_ended(
    ask: Ask, path: str, body: dict[str, Any], operation: str, stream: bool
) -> None:
    response, spans = ask(path, {**body, "max_tokens": 3, "ignore_eos": True, "stream": stream})

    assert response.status_code == 200
    attributes = spans[f"{operation} {MODEL}"].attributes
    n = len(body["prompt"]) if isinstance(body.get("prompt"), list) else 1
    assert attributes["gen_ai.response.finish_reasons"] == ["length"] * n
    assert attributes["gen_ai.usage.output_tokens"] == 3 * n
    assert attributes.get("gen_ai.request.stream", False) is stream
    assert ("gen_ai.response.time_to_first_chunk" in attributes) is stream
    assert "gen_ai.request.seed" not in attributes


def test_a_streamed_tool_call_is_named_as_its_client_sees_it(ask: Ask) -> None:
    function = {"name": "look", "parameters": {"type": "object", "properties": {}}}
    body = {
        "messages": CAPITAL,
        "tools": [{"type": "function", "function": function}],
        "tool_choice": "required",
        "stream": True,
    }
    response, spans = ask(CHAT, body)

    events = [line[6:] for line in response.text.splitlines() if line.startswith("data: {")]
    reasons = [json.loads(event)["choices"][0]["finish_reason"] for event in events]
    attributes = spans[f"chat {MODEL}"].attributes
    assert attributes["gen_ai.response.finish_reasons"] == [reason for reason in reasons if reason]


def test_a_request_that_is_refused_has_no_inference(ask: Ask) -> None:
    response, spans = ask(CHAT, {"messages": CAPITAL, "temperature": 9})

    assert response.status_code == 400
    [request] = spans.values()
    assert request.attributes["error.type"] == response.json()["error"]["code"]


@pytest.mark.parametrize("header", [b"", b"00-zz-yy-01", b"\xff", b"00-" + b"0" * 32, b"x" * 5000])
def test_a_traceparent_that_is_none_fails_no_request(ask: Ask, header: bytes) -> None:
    headers = {b"traceparent": header, b"tracestate": header}
    response, spans = ask(CHAT, {"messages": CAPITAL, "max_tokens": 1}, headers)

    assert response.status_code == 200
    assert spans[f"POST {CHAT}"].parent == ""


def test_without_an_endpoint_there_is_no_tracing() -> None:
    settings = Settings(store="none")
    assert create_app(settings, ModelLoader(settings)).state.server.tracing is None
