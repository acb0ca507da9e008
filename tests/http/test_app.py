"""The app in this process, in states that a running server passes too quickly to be seen."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from functions.http import authentication
from functions.http.app import create_app
from shared.config.settings import Settings
from shared.models.sources import ModelSourceError
from shared.protocol.llama_cpp import errors as llama_cpp
from shared.runtime.caller import Caller
from shared.runtime.configured_keys import ConfiguredKeys
from shared.runtime.loader import ModelLoader
from shared.runtime.state import ServerState
from tests.server import CAPITAL

ENDPOINTS = [
    ("GET", "/health"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/pilotlight-builtin"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("GET", "/v1/health"),
    ("GET", "/models"),
    ("POST", "/chat/completions"),
    ("GET", "/props"),
    ("POST", "/completion"),
    ("POST", "/tokenize"),
    ("POST", "/detokenize"),
    ("POST", "/apply-template"),
]


class TestLoading:
    """While the model loads, everything says so and how far it is."""

    @pytest.fixture
    def loader(self) -> ModelLoader:
        """A loader that nobody has started."""
        return ModelLoader(Settings(threads=1, ctx_size=512))

    @pytest.fixture
    def http(self, loader: ModelLoader) -> Iterator[TestClient]:
        """A client of the app that waits for ``loader``."""
        with TestClient(create_app(Settings(), loader)) as http:
            yield http

    @pytest.mark.parametrize(("method", "path"), ENDPOINTS)
    def test_requests_get_503_and_when_to_come_again(
        self, http: TestClient, method: str, path: str
    ) -> None:
        response = http.request(method, path)
        error = response.json()["error"]
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        kind = "unavailable_error" if path in llama_cpp.PATHS else "model_loading"
        assert (error["type"], error["code"]) == (kind, "model_loading")
        assert response.headers["x-request-id"]

    @pytest.mark.parametrize(("fraction", "percent"), [(0.0, "0 %"), (0.426, "42 %")])
    def test_health_tells_the_progress(
        self, http: TestClient, loader: ModelLoader, fraction: float, percent: str
    ) -> None:
        loader.progress = fraction
        assert percent in http.get("/health").json()["error"]["message"]

    @pytest.mark.slow
    def test_metrics_and_documentation_are_there_already(self, http: TestClient) -> None:
        assert "pilotlight_requests_active 1.0" in http.get("/metrics").text
        assert http.get("/openapi.json").status_code == 200

    def test_once_loaded_it_is_healthy_and_answers(
        self, http: TestClient, loader: ModelLoader
    ) -> None:
        loader.start()
        loader.wait()
        answer = http.post("/v1/chat/completions", json={"messages": CAPITAL, "temperature": 0})
        assert loader.progress == 1.0
        assert http.get("/health").status_code == 200
        assert "Paris" in answer.text

    def test_the_model_is_closed_with_the_app(self, loader: ModelLoader) -> None:
        with TestClient(create_app(Settings(), loader)) as http:
            loader.start()
            served = loader.wait()
            assert http.get("/health").status_code == 200
        assert loader.served is None
        assert not served.engine.is_alive


class TestStalledEngine:
    """Sequences are there, and no step is made."""

    @pytest.mark.parametrize("is_idle", [True, False])
    def test_health_tells_it(self, is_idle: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = Settings(threads=1, ctx_size=512)
        loader = ModelLoader(settings)
        with TestClient(create_app(settings, loader)) as http:
            loader.start()
            engine = loader.wait().engine
            now = time.monotonic()
            monkeypatch.setattr("shared.engine.stall.time.monotonic", lambda: now)
            engine._loop.progress.note()
            engine._loop.progress.is_idle = is_idle
            assert http.get("/health").status_code == 200
            now += 299
            assert http.get("/health").status_code == 200
            now += 2
            responses = [http.get("/health"), http.get("/v1/health")]
            engine._loop.progress.is_idle = True
        for response in responses:
            assert response.status_code == (200 if is_idle else 503)
            if not is_idle:
                assert response.json()["error"]["code"] == "engine_stalled"


class TestFailedLoading:
    """A model that could not be loaded is our fault, and the caller sees no internals."""

    def test_requests_get_500_without_internals(self, tmp_path: Path) -> None:
        settings = Settings(model=str(tmp_path / "missing.gguf"))
        loader = ModelLoader(settings)
        loader.start()
        with pytest.raises(ModelSourceError):
            loader.wait()
        with TestClient(create_app(settings, loader)) as http:
            response = http.get("/health")
        assert response.status_code == 500
        assert response.json()["error"]["type"] == "server_error"
        assert response.json()["error"]["code"] == "model_unavailable"
        assert "missing.gguf" not in response.text


class TestShutdown:
    """While shutting down, new requests are sent elsewhere."""

    @pytest.mark.parametrize(("method", "path"), ENDPOINTS)
    def test_requests_get_503(self, method: str, path: str) -> None:
        app = create_app(Settings(), ModelLoader(Settings()))
        app.state.server.is_shutting_down = True
        with TestClient(app) as http:
            response = http.request(method, path)
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        assert "shutting down" in response.json()["error"]["message"]

    def test_who_waits_for_the_store_of_keys_is_not_refused(self) -> None:
        app = create_app(Settings(api_key=[SecretStr("one")]))
        state: ServerState = app.state.server
        state.loader.wait()

        async def slow(_: ServerState, key: bytes) -> Caller | None:
            state.is_shutting_down = True
            return ConfiguredKeys(["one"]).owner(key)

        headers = {"authorization": "Bearer one"}
        body = {"prompt": "Hello", "max_tokens": 1}
        with TestClient(app, headers=headers) as http:
            with patch.object(authentication, "owner_of_key", slow):
                assert http.post("/v1/completions", json=body).status_code == 200
            assert http.post("/v1/completions", json=body).status_code == 503


class TestConfiguredKeys:
    """Keys are compared by their hashes."""

    def test_only_the_keys_themselves_are_accepted(self) -> None:
        keys = ConfiguredKeys(["one", "zwei-é"])
        assert keys.owner(b"one")
        assert keys.owner("zwei-é".encode())
        assert keys.owner(b"two") is None
        assert keys.owner(b"") is None
        assert keys.owner(b"\xff") is None

    def test_each_key_is_a_tenant_whose_name_tells_nothing_of_it(self) -> None:
        one, two = (
            ConfiguredKeys(["one", "two"]).owner(b"one"),
            ConfiguredKeys(["two"]).owner(b"two"),
        )
        assert one is not None
        assert two is not None
        assert one.tenant != two.tenant
        assert re.fullmatch("key-[0-9a-f]{16}", one.tenant)
        assert ConfiguredKeys(["one"]).owner(b"one") == one

    def test_a_hash_stands_for_its_key(self) -> None:
        digest = hashlib.sha256(b"one").hexdigest()
        keys = ConfiguredKeys(["two"], [digest])
        assert keys.owner(b"one") == ConfiguredKeys(["one"]).owner(b"one")
        assert keys.owner(b"two") == ConfiguredKeys(["two"]).owner(b"two")
        assert keys.owner(digest.encode()) is None
        assert ConfiguredKeys([], [digest])

    def test_without_keys_there_are_none(self) -> None:
        assert not ConfiguredKeys([])
        assert ConfiguredKeys(["one"])
