"""CORS: preflights, and headers of answers and errors for pages of other origins."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from functions.http.api_app import create_api_app
from functions.http.app import create_app
from functions.http.cors import EXPOSED, CrossOriginPolicy
from functions.http.origin_guard import OriginGuard
from shared.config.settings import Settings
from shared.runtime.loader import ModelLoader
from tests.conftest import API_KEY
from tests.docs.api_page import PAGE

APP, OTHER, FOREIGN = "https://app.example.com", "tauri://localhost", "https://evil.example"
CHAT = "/v1/chat/completions"
OPENAI_JS = [
    *("authorization", "content-type", "openai-organization", "openai-project", "user-agent"),
    *(f"x-stainless-{name}" for name in ("arch", "custom-poll-interval", "helper-method", "lang")),
    *(f"x-stainless-{name}" for name in ("os", "package-version", "poll-helper", "retry-count")),
    *("x-stainless-runtime", "x-stainless-runtime-version", "x-stainless-timeout"),
]
"""Headers that `openai` for JavaScript sends; browsers ask for each but the simplest."""


def client(*origins: str, api: bool = False, **settings: Any) -> TestClient:
    """Asks an app whose model nobody loads."""
    with_key = Settings.model_validate(
        {"api_key": API_KEY, "cors_origins": list(origins), **settings}
    )
    app = create_api_app(with_key) if api else create_app(with_key, ModelLoader(with_key))
    return TestClient(app, raise_server_exceptions=False, follow_redirects=False)


def preflight(origin: str, method: str = "POST", **headers: str) -> dict[str, str]:
    """Headers of a preflight."""
    return {"origin": origin, "access-control-request-method": method, **headers}


def cors_headers(response: Any) -> dict[str, str]:
    """Those of a response that are CORS's."""
    return {name: value for name, value in response.headers.items() if "access-control" in name}


class TestOff:
    """By default."""

    def test_no_answer_has_headers(self) -> None:
        http = client()
        for response in (
            http.options(CHAT, headers=preflight(APP)),
            http.get("/v1/models", headers={"origin": APP}),
            http.get("/health", headers={"origin": APP}),
        ):
            assert not cors_headers(response)
            assert "vary" not in response.headers

    def test_preflights_are_requests_like_others(self) -> None:
        assert client().options(CHAT, headers=preflight(APP)).status_code == 401


@pytest.mark.parametrize("api", [False, True], ids=["app", "app without a model"])
class TestPreflight:
    """What a browser asks first."""

    @pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
    @pytest.mark.parametrize("path", [CHAT, "/v1/models", "/v1/organization/projects", "/nowhere"])
    def test_it_needs_neither_key_nor_model(self, api: bool, path: str, method: str) -> None:
        http = client(APP, OTHER, api=api)
        asked = {"access-control-request-headers": ",".join(OPENAI_JS)}
        for origin in (APP, OTHER):
            response = http.options(path, headers=preflight(origin, method, **asked))

            assert response.status_code == 200
            assert response.headers.get_list("access-control-allow-origin") == [origin]
            assert method in response.headers["access-control-allow-methods"].split(", ")
            allowed = response.headers["access-control-allow-headers"].split(",")
            assert set(OPENAI_JS) <= {name.strip() for name in allowed}
            assert "access-control-allow-credentials" not in response.headers
            vary = response.headers["vary"].split(", ")
            assert {"Origin", "Access-Control-Request-Headers"} <= set(vary)
            assert "x-request-id" in response.headers

    def test_it_is_in_the_access_log(self, api: bool, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, "pilotlight.access"):
            client(APP, api=api).options(CHAT, headers=preflight(APP))
        assert f"OPTIONS {CHAT} 200" in caplog.text

    @pytest.mark.parametrize("origin", [FOREIGN, "null", f"{APP}:8443", "https://app.example.co"])
    def test_other_origins_are_told_what_to_do(self, api: bool, origin: str) -> None:
        response = client(APP, api=api).options(CHAT, headers=preflight(origin))
        error = response.json()["error"]
        assert response.status_code == 403
        assert (error["type"], error["code"]) == ("permission_error", "origin_not_allowed")
        assert origin in error["message"]
        assert "--cors-origins" in error["message"]
        assert not cors_headers(response)
        assert response.headers["vary"] == "Origin"

    def test_other_methods_are_refused(self, api: bool) -> None:
        response = client(APP, api=api).options(CHAT, headers=preflight(APP, "PUT"))
        assert response.status_code == 403
        assert "GET, POST, DELETE" in response.json()["error"]["message"]

    def test_a_page_may_reach_a_private_network(self, api: bool) -> None:
        asked = {"access-control-request-private-network": "true"}
        response = client(APP, api=api).options(CHAT, headers=preflight(APP, **asked))
        assert response.headers["access-control-allow-private-network"] == "true"

    @pytest.mark.parametrize("left_out", ["origin", "access-control-request-method"])
    def test_other_options_requests_are_none(self, api: bool, left_out: str) -> None:
        headers = preflight(APP)
        del headers[left_out]
        assert client(APP, api=api).options(CHAT, headers=headers).status_code == 401


class TestOrigins:
    """Which are allowed."""

    @pytest.mark.parametrize("origin", [APP, "null", "moz-extension://0b0e-1"])
    def test_all(self, origin: str) -> None:
        http = client("*")
        for response in (
            http.options(CHAT, headers=preflight(origin)),
            http.get("/health", headers={"origin": origin}),
        ):
            assert response.headers.get_list("access-control-allow-origin") == ["*"]
            assert "access-control-allow-credentials" not in response.headers

    @pytest.mark.parametrize(
        ("origin", "is_allowed"),
        [
            ("http://localhost", True),
            ("http://localhost:5173", True),
            ("https://127.0.0.1:8443", True),
            ("http://[::1]:3000", True),
            (APP, True),
            ("http://localhost.evil.example", False),
            ("http://evil.example:5173", False),
            ("http://127.0.0.1.evil.example", False),
            ("http://localhost:5173/", False),
            ("https://localhost@evil.example", False),
        ],
    )
    def test_those_of_this_machine(self, origin: str, is_allowed: bool) -> None:
        response = client("localhost", APP).get("/health", headers={"origin": origin})
        allowed = response.headers.get_list("access-control-allow-origin")
        assert allowed == ([origin] if is_allowed else [])
        assert response.headers.get_list("vary") == ["Origin"]

    def test_requests_of_no_page_vary_too(self) -> None:
        response = client(APP).get("/health")
        assert not cors_headers(response)
        assert response.headers["vary"] == "Origin"


class TestAnswers:
    """Whatever a request of an allowed page is answered."""

    @pytest.mark.parametrize(
        ("method", "path", "key", "status"),
        [
            ("GET", "/v1/models", "wrong", 401),
            ("POST", CHAT, "", 401),
            ("GET", "/v1/organization/projects", API_KEY, 403),
            ("GET", "/nowhere", API_KEY, 404),
            ("DELETE", "/v1/models", API_KEY, 405),
            ("GET", "/health", "", 503),
            ("POST", "/tokenize", API_KEY, 503),
        ],
    )
    def test_errors_can_be_read(
        self, method: str, path: str, key: str, status: int, tmp_path: Path
    ) -> None:
        http = client(APP, accounts=True, data_dir=tmp_path)
        headers = {"origin": APP} | ({"authorization": f"Bearer {key}"} if key else {})
        response = http.request(method, path, headers=headers)
        assert response.status_code == status
        assert response.headers.get_list("access-control-allow-origin") == [APP]
        assert response.headers.get_list("vary") == ["Origin"]
        exposed = response.headers["access-control-expose-headers"].split(", ")
        assert {"x-request-id", "retry-after", "x-ratelimit-remaining-tokens"} <= set(exposed)

    def test_failures_of_ours_can_be_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        http = client(APP)
        monkeypatch.delattr(http.app.state.server, "models")  # type: ignore[attr-defined]
        headers = {"origin": APP, "authorization": f"Bearer {API_KEY}"}
        response = http.get("/v1/models", headers=headers)
        assert response.status_code == 500
        assert response.headers["access-control-allow-origin"] == APP

    def test_all_headers_of_the_page_are_exposed(self) -> None:
        section = PAGE.partition("\n## Headers\n")[2].partition("\nA request's ")[0]
        rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
        cells = [cell for _, cell, of, *_ in rows if of.strip() != "requests"]
        names = {name for cell in cells for name in re.findall("`([^`]+)`", cell)}
        limits = {name for name in names if name.startswith("x-ratelimit-")}
        names |= {name.replace("requests", "tokens") for name in limits}
        assert "request-id" in names
        names -= {"tokens", "vary"}  # the last is for browsers
        assert {name for name in names if "access-control" not in name} == set(EXPOSED)

    @pytest.mark.parametrize("path", ["/", "/docs", "/docs-files/swagger-ui.css"])
    def test_pages_for_people_are_for_their_own_origin(self, path: str) -> None:
        http = client(APP, "*")
        response = http.get(path, headers={"origin": APP})
        assert response.status_code in (200, 307)
        assert not cors_headers(response)
        assert http.options(path, headers=preflight(APP)).status_code == 405


class TestWithoutKeys:
    """`OriginGuard` lets pages pass that may send requests, and nobody else."""

    @pytest.fixture
    def http(self) -> TestClient:
        """A client of a keyless app."""
        settings = Settings(cors_origins=[APP])
        app = create_app(settings, ModelLoader(settings))
        app.state.server.guard = OriginGuard([], CrossOriginPolicy.of(settings)).check
        return TestClient(app, base_url="http://127.0.0.1:8000")

    def test_a_page_that_is_allowed(self, http: TestClient) -> None:
        fetch = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}
        assert http.options(CHAT, headers={**preflight(APP), **fetch}).status_code == 200
        response = http.get("/metrics", headers={"origin": APP, **fetch})
        assert response.status_code == 200
        assert response.headers["access-control-allow-origin"] == APP

    def test_a_page_that_is_not(self, http: TestClient) -> None:
        for response in (
            http.options(CHAT, headers=preflight(FOREIGN)),
            http.get("/metrics", headers={"origin": FOREIGN}),
        ):
            assert response.status_code == 403
            assert response.json()["error"]["code"] == "foreign_origin"
            assert "--cors-origins" in response.json()["error"]["message"]
            assert not cors_headers(response)

    def test_a_name_that_was_given_this_address(self, http: TestClient) -> None:
        headers = {"origin": APP, "host": "evil.example"}
        response = http.get("/metrics", headers=headers)
        assert response.json()["error"]["code"] == "foreign_host"


class TestRefusals:
    """Of requests that never become the app's."""

    @pytest.mark.parametrize(
        ("origins", "sent", "allowed"),
        [
            (["*"], None, b"*"),
            (["*"], APP, b"*"),
            ([APP], None, APP.encode()),
            ([APP], APP, APP.encode()),
            ([APP], FOREIGN, None),
            ([APP, OTHER], None, None),
            ([APP, OTHER], OTHER, OTHER.encode()),
            (["localhost"], None, None),
            (["localhost", APP], None, None),
            (["localhost"], "http://localhost:1", b"http://localhost:1"),
        ],
    )
    def test_headers(self, origins: list[str], sent: str | None, allowed: bytes | None) -> None:
        received = [] if sent is None else [(b"host", b"x"), (b"origin", sent.encode())]
        headers = dict(CrossOriginPolicy(origins).refusal_headers(received))
        assert headers.get(b"access-control-allow-origin") == allowed
        assert headers[b"vary"] == b"Origin"
