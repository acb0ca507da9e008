"""Which methods a path takes, and what the access log and the metrics call it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from functions.http.api_app import create_api_app
from functions.http.app import create_app
from functions.http.unknown_routes import advice
from shared.config.settings import Settings
from shared.runtime.loader import ModelLoader

SETTINGS = Settings(api_key=[SecretStr("key")])
ITEM = "/v1/chat/completions/{completion_id}"


@pytest.fixture(scope="module")
def http() -> TestClient:
    """A client of an app with a key and without a model."""
    return TestClient(create_app(SETTINGS, ModelLoader(SETTINGS)), follow_redirects=False)


KEY = {"authorization": "Bearer key"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/chat/completions", "GET, HEAD, POST"),
        ("PUT", "/v1/completions", "GET, HEAD, POST"),
        ("PUT", "/v1/chat/completions/x", "DELETE, GET, HEAD, POST"),
        ("POST", "/v1/chat/completions/x/messages", "GET, HEAD"),
        ("POST", "/props", "GET, HEAD"),
        ("HEAD", "/completion", "POST"),
        ("GET", "/chat/completions", "POST"),
        ("POST", "/health", "GET, HEAD"),
        ("OPTIONS", "/v1/models/a/b", "GET, HEAD"),
        ("POST", "/docs-files/x.js", "GET, HEAD"),
    ],
)
def test_allow_has_the_methods_of_all_routes_of_a_path(
    http: TestClient, method: str, path: str, allowed: str
) -> None:
    response = http.request(method, path, headers=KEY)
    assert response.status_code == 405
    assert response.headers["allow"] == allowed


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "/v1/models/lamp"), ("POST", "/v1/models/load")]
)
def test_why_models_do_not_take_a_method_is_said(http: TestClient, method: str, path: str) -> None:
    response = http.request(method, path, headers=KEY)
    assert response.status_code == 405
    assert "Models are chosen when the server starts" in response.json()["error"]["message"]


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    ("method", "path", "headers", "logged"),
    [
        ("POST", "/v1/chat/completions", {}, "POST /v1/chat/completions 401"),
        ("GET", "/v1/chat/completions/x", {}, f"GET {ITEM} 401"),
        ("GET", "/v1/models/a/b", {}, "GET /v1/models/{model:path} 401"),
        ("PUT", "/v1/chat/completions/x", KEY, f"PUT {ITEM} 405"),
        ("GET", "/openapi.json", {}, "GET /openapi.json 200"),
        ("GET", "/docs-files/no.js", {}, "GET /docs-files 404"),
        ("GET", "/v2/models", KEY, "GET /v2/models 404"),
        ("GET", "/v2/models", {}, "GET (unknown) 401"),
        ("GET", "/a%20200%0A%1B[31m/\u00e9?q=secret", KEY, "GET /a200[31m/\u00e9 404"),
        ("GET", "/" + "x" * 200, KEY, f"GET /{'x' * 99} 404"),
    ],
)
def test_the_log_names_the_route(
    http: TestClient,
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
    headers: dict[str, str],
    logged: str,
) -> None:
    with caplog.at_level(logging.INFO, "pilotlight.access"):
        http.request(method, path, headers=headers)
    (line,) = [r.getMessage() for r in caplog.records if r.name == "pilotlight.access"]
    assert line.startswith(f"{logged} ")


def test_metrics_name_the_route_and_no_unknown_path(http: TestClient) -> None:
    for path in ("/v1/completions/x", "/invented/1"):
        http.get(path)
        http.get(path, headers=KEY)
    text = http.get("/metrics", headers=KEY).text
    assert 'path="/v1/completions/{completion_id}",status="401"' in text
    assert 'path="(unknown)",status="404"' in text
    assert "invented" not in text


def test_the_root_leads_to_the_documentation(http: TestClient) -> None:
    response = http.get("/")
    assert response.status_code == 307
    assert response.headers["location"] == "/docs"
    assert http.get(response.headers["location"]).status_code == 200
    browser = http.get("/", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert browser.headers["location"] == "/dashboard"


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    "path",
    [
        *("/", "/health", "/v1/health", "/docs", "/openapi.json", "/metrics", "/props", "/models"),
        *("/v1/models", "/v1/models/x", "/v1/chat/completions", "/v1/completions?limit=0"),
        *("/v1/chat/completions/x", "/v1/completions/x/messages", "/docs-files/swagger-ui.css"),
    ],
)
@pytest.mark.parametrize("headers", [KEY, {}])
def test_head_is_get_without_the_body(http: TestClient, path: str, headers: dict[str, str]) -> None:
    get, head = http.get(path, headers=headers), http.head(path, headers=headers)
    assert head.status_code == get.status_code
    assert head.content == b""
    names = {"content-type", "content-length", "location", "retry-after", "www-authenticate"}
    assert {n: v for n, v in head.headers.items() if n in names} == {
        n: v for n, v in get.headers.items() if n in names
    } or path == "/metrics"


@pytest.mark.parametrize("name", ["authorization", "x-api-key"])
def test_credentials_that_are_sent_twice_are_refused(http: TestClient, name: str) -> None:
    value = "Bearer key" if name == "authorization" else "key"
    for other in (value, "Bearer other", ""):
        for pair in ((value, other), (other, value)):
            response = http.get("/metrics", headers=[(name, sent) for sent in pair])
            assert response.status_code == 400
            assert response.json()["error"]["code"] == "conflicting_credentials"


CHAT, TEXT = "/v1/chat/completions", "/v1/completions"


@pytest.mark.parametrize(
    ("method", "path", "named"),
    [
        ("POST", "/v1/responses/resp_1/fork", "/v1/responses"),
        ("POST", "/v1/responses/compact", "not compacted here: see /v1/responses."),
        ("POST", "/v1/conversations", "/v1/responses"),
        ("POST", "/responses", "Did you mean /v1/responses?"),
        ("POST", "/v1/embeddings", "no embeddings"),
        ("POST", "/v1/messages/batches", "/v1/messages"),
        ("POST", "/v1/v1/messages", "Did you mean /v1/messages? A base URL ends without /v1."),
        ("POST", "/v1/audio/speech", "no audio"),
        ("POST", "/v1/audio/transcriptions", "no audio"),
        ("POST", "/v1/images/generations", "no images"),
        ("POST", "/v1/moderations", CHAT),
        ("GET", "/v1/files", CHAT),
        ("GET", "/v1/organization/projects", "accounts, which are off"),
        ("POST", "/v1/projects", "accounts, which are off"),
        ("GET", "/v1/key", "accounts, which are off"),
        ("POST", "/v1/batches", CHAT),
        ("POST", "/v1/threads/x/runs", CHAT),
        ("POST", "/rerank", "rank none"),
        ("POST", "/infill", "'suffix'"),
        ("GET", "/lora-adapters", "LoRA adapters are not"),
        ("POST", "/models/load", "chosen when the server starts"),
        ("DELETE", "/models/lamp", "chosen when the server starts"),
        ("GET", "/v1/v1/models/lamp", "Did you mean /v1/models/lamp?"),
        ("POST", "/slots/0?action=save", "not saved, restored or erased here: see /slots"),
        ("POST", "/api/generate", TEXT),
        ("POST", "/api/chat", CHAT),
        ("GET", "/api/tags", "/v1/models"),
        ("POST", "/api/embed", "no embeddings"),
        ("POST", "/v1/engines/davinci/completions", TEXT),
        ("POST", "/openai/deployments/lamp/chat/completions?api-version=1", CHAT),
        ("POST", "/v1beta/models/gemini-2.5-pro:generateContent", CHAT),
        ("POST", "/generate", TEXT),
        ("POST", "/v1", CHAT),
        ("POST", "/v1/chat", CHAT),
        ("POST", "/v1/chat/completions/", "Did you mean /v1/chat/completions?"),
        ("GET", "/v1/models/", "Did you mean /v1/models?"),
        ("GET", "/health/", "Did you mean /health?"),
        ("GET", "/docs/", "Did you mean /docs?"),
        ("POST", "/v1//chat/completions", "Did you mean /v1/chat/completions?"),
        ("POST", "/v1/v1/chat/completions", "Did you mean /v1/chat/completions? A base URL"),
        ("POST", "/v1/v1/v1/completions/", "Did you mean /v1/completions? A base URL"),
        ("POST", "/openai/v1/chat/completions", "Did you mean /v1/chat/completions?"),
        ("POST", "/V1/Chat/Completions", "Did you mean /v1/chat/completions?"),
        ("POST", "/v1/completion", "Did you mean /completion?"),
        ("POST", "/v1/tokenize", "Did you mean /tokenize?"),
        ("GET", "/v1/props", "Did you mean /props?"),
        ("POST", "/v1/chat/completions%20", "Did you mean /v1/chat/completions?"),
        ("GET", "/" + "a/" * 5000, ""),
    ],
)
def test_unknown_routes_name_what_there_is(
    http: TestClient, method: str, path: str, named: str
) -> None:
    response = http.request(method, path, headers=KEY)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (404, "unknown_url")
    assert named in error["message"]


@pytest.mark.parametrize("path", ["/v1/organization/users", "/v1/projects", "/organization"])
def test_with_accounts_unknown_routes_name_those_of_projects(path: str, tmp_path: Path) -> None:
    settings = Settings(api_key=[SecretStr("key")], accounts=True, data_dir=tmp_path)
    sentence = advice(path, create_api_app(settings).state.routes)
    assert sentence.endswith(" see /v1/organization/projects.")


def test_two_slashes_in_front_are_named(http: TestClient) -> None:
    response = http.post("http://testserver//v1/chat/completions", headers=KEY)
    assert response.status_code == 404
    assert "Did you mean /v1/chat/completions?" in response.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/chat/completions/", "/docs/"])
def test_a_function_without_a_model_names_no_routes_of_others(path: str) -> None:
    with TestClient(create_api_app(SETTINGS)) as http:
        message = http.post(path, headers=KEY).json()["error"]["message"]
    assert "/docs?" not in message
    assert "Unknown route" in message
