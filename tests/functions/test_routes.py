"""Which methods a path takes, and what the access log and the metrics call it."""

from __future__ import annotations

import logging

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from functions.app import create_app
from shared.models.loader import ModelLoader
from shared.settings import Settings

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
        ("PUT", "/v1/chat/completions", "GET, POST"),
        ("PUT", "/v1/completions", "GET, POST"),
        ("PUT", "/v1/chat/completions/x", "DELETE, GET, POST"),
        ("POST", "/v1/chat/completions/x/messages", "GET"),
        ("GET", "/chat/completions", "POST"),
        ("POST", "/health", "GET, HEAD"),
        ("OPTIONS", "/v1/models/a/b", "GET"),
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
