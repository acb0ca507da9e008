"""HTTP around the endpoints: headers, models, health, metrics, documentation, keep-alive."""

from __future__ import annotations

import json
import time

import pytest
from openai import NotFoundError, OpenAI

from tests.server import CAPITAL, Server

ASK = json.dumps({"messages": CAPITAL, "max_tokens": 3})


def test_a_request_id_is_echoed(server: Server) -> None:
    response = server.http.post(
        "/v1/chat/completions", content=ASK, headers={"x-request-id": "my.request-1"}
    )
    assert response.headers["x-request-id"] == "my.request-1"


@pytest.mark.parametrize("request_id", ["", "with space", "x" * 129, 'quote"', "semi;colon"])
def test_a_request_id_that_could_do_harm_is_replaced(server: Server, request_id: str) -> None:
    response = server.http.get("/health", headers={"x-request-id": request_id})
    assert response.headers["x-request-id"].startswith("req_")


def test_request_ids_are_unique(server: Server) -> None:
    ids = {server.http.get("/health").headers["x-request-id"] for _ in range(20)}
    assert len(ids) == 20


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/v1/models", 200),
        ("GET", "/nowhere", 404),
        ("PUT", "/v1/chat/completions", 405),
        ("POST", "/v1/chat/completions", 400),
        ("GET", "/metrics", 200),
    ],
)
def test_every_response_has_an_id_and_its_processing_time(
    server: Server, method: str, path: str, status: int
) -> None:
    response = server.http.request(method, path)
    assert response.status_code == status
    assert response.headers["x-request-id"]
    assert int(response.headers["openai-processing-ms"]) >= 0


@pytest.mark.slow
def test_the_processing_time_is_the_requests_own(server: Server) -> None:
    started = time.perf_counter()
    response = server.chat(max_tokens=300, ignore_eos=True)
    elapsed = (time.perf_counter() - started) * 1000
    assert 1 <= int(response.headers["openai-processing-ms"]) <= elapsed


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_fields_without_effect_are_named_in_a_header(
    server: Server, path: str, stream: bool
) -> None:
    body = {"messages": CAPITAL} if "chat" in path else {"prompt": "Once"}
    response = server.post(path, {**body, "stream": stream, "max_tokens": 1, "zeta": 1, "alpha": 2})
    assert response.status_code == 200
    assert response.headers["x-ignored-params"] == "alpha, zeta"


def test_without_ignored_fields_the_header_is_absent(server: Server) -> None:
    assert "x-ignored-params" not in server.chat(max_tokens=1).headers


def test_ignored_names_can_not_break_the_header(server: Server) -> None:
    response = server.chat(max_tokens=1, **{"a\r\nset-cookie: x=1": 1, "é\x00": 2, "k" * 5000: 3})
    assert response.status_code == 200
    assert "set-cookie" not in response.headers
    assert len(response.headers["x-ignored-params"]) <= 1000


def test_models_are_listed_and_retrieved(client: OpenAI) -> None:
    models = client.models.list().data
    assert [model.id for model in models] == ["pilotlight-builtin"]
    model = client.models.retrieve("pilotlight-builtin")
    assert model.id == "pilotlight-builtin"
    assert model.object == "model"
    assert model.owned_by
    assert model.created > 0


def test_the_model_card_tells_what_the_file_says(server: Server) -> None:
    meta = server.http.get("/v1/models/pilotlight-builtin").json()["meta"]
    assert meta["n_ctx"] > 0
    assert meta["n_ctx_train"] >= meta["n_ctx"]
    assert meta["n_params"] > 100_000
    assert 0 < meta["size"] <= 4 * 2**20


def test_an_unknown_model_is_not_retrieved(client: OpenAI) -> None:
    with pytest.raises(NotFoundError) as caught:
        client.models.retrieve("gpt-4o")
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"


def test_health_says_ok(server: Server) -> None:
    response = server.http.get("/health")
    assert response.status_code == 200
    assert response.json()["status"] == "ok"


def test_metrics_are_prometheus_text_and_count_tokens(server: Server) -> None:
    before = server.metric("completion_tokens_total"), server.metric("prompt_tokens_total")
    usage = server.chat(max_tokens=5, ignore_eos=True).json()["usage"]
    after = server.metric("completion_tokens_total"), server.metric("prompt_tokens_total")
    assert after[0] - before[0] == usage["completion_tokens"] == 5
    assert after[1] - before[1] == usage["prompt_tokens"]
    response = server.http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    assert "# TYPE pilotlight_requests_total counter" in response.text


def test_metrics_do_not_grow_with_the_paths_that_clients_invent(server: Server) -> None:
    for i in range(5):
        server.http.get(f"/invented/{i}")
    text = server.http.get("/metrics").text
    assert "/invented" not in text
    assert 'path="(unknown)",status="404"' in text


@pytest.mark.slow
def test_the_documentation_describes_both_endpoints(server: Server) -> None:
    page = server.http.get("/docs")
    document = server.http.get("/openapi.json").json()
    assert page.headers["content-type"].startswith("text/html")
    assert {"/v1/chat/completions", "/v1/completions", "/v1/models", "/health"} <= set(
        document["paths"]
    )
    body = document["components"]["schemas"]["ChatCompletionRequest"]
    assert {"messages", "temperature", "stop"} <= set(body["properties"])
    assert body["examples"]


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/x-www-form-urlencoded", "text/plain", "nonsense", ""],
)
def test_the_body_is_json_whatever_the_content_type_says(server: Server, content_type: str) -> None:
    response = server.http.post(
        "/v1/chat/completions", content=ASK, headers={"content-type": content_type}
    )
    assert response.status_code == 200
