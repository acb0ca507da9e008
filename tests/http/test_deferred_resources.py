"""FastAPI and the resources' endpoints are imported at first need, which no completion has."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import Mock, patch

import pytest
from starlette.testclient import TestClient

from functions.cli import serve
from functions.http import resources
from functions.http.app import App, create_app
from functions.http.server.uvicorn_server import GracefulServer
from shared.config.settings import Settings
from shared.runtime.loader import ModelLoader
from shared.runtime.shutdown import GracefulShutdown
from shared.runtime.state import ServerState

COMPLETION = {"prompt": "Hello", "max_tokens": 1}


@pytest.fixture(scope="module")
def loader() -> Iterator[ModelLoader]:
    """A loader with the built-in model loaded."""
    loader = ModelLoader(Settings())
    loader.start()
    loader.wait()
    yield loader
    loader.close()


@pytest.fixture
def app(loader: ModelLoader) -> App:
    """An app that nobody has asked for anything."""
    return create_app(Settings(store="none"), loader)


@pytest.fixture
def http(app: App) -> TestClient:
    """A client, without the app's end: the model is the other tests', too."""
    return TestClient(app)


def test_completions_and_health_need_none(app: App, http: TestClient) -> None:
    with patch.object(app, "resources", side_effect=AssertionError):
        assert http.post("/v1/completions", json=COMPLETION).status_code == 200
        assert http.post("/v1/chat/completions", json={}).status_code == 400
        assert http.get("/health").json() == {"status": "ok", "model": "pilotlight-builtin"}
        assert http.get("/v1/health").status_code == 200


def test_health_is_the_same_with_them(app: App, http: TestClient) -> None:
    direct = http.get("/health")
    app.resources()
    with_prefix = TestClient(app, root_path="/stage").get("/stage/health")

    assert direct.text == with_prefix.text
    assert direct.headers["content-type"] == with_prefix.headers["content-type"]


def test_head_has_the_headers_and_no_body(http: TestClient) -> None:
    response = http.head("/health")

    assert response.status_code == 200
    assert response.content == b""
    assert int(response.headers["content-length"]) == len(http.get("/health").content)


def test_they_are_built_once_for_all_requests(app: App, http: TestClient) -> None:
    with (
        patch.object(resources, "create_resources", wraps=resources.create_resources) as create,
        ThreadPoolExecutor(4) as pool,
    ):
        paths = ["/v1/models", "/openapi.json", "/docs", "/metrics"]
        assert [each.status_code for each in pool.map(http.get, paths)] == [200] * 4
    create.assert_called_once()


def test_a_request_that_waits_for_them_is_active(app: App, http: TestClient) -> None:
    """A shutdown lets it end."""
    begun, may_end = threading.Event(), threading.Event()
    create = resources.create_resources

    def slow(*arguments: Any) -> Any:
        begun.set()
        may_end.wait()
        return create(*arguments)

    with patch.object(resources, "create_resources", slow), ThreadPoolExecutor(1) as pool:
        response = pool.submit(http.get, "/v1/models")
        begun.wait()
        assert app.state.server.n_active == 1
        may_end.set()
        assert response.result().status_code == 200
    assert app.state.server.n_active == 0


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/models", None),
        ("POST", "/v1/responses", {"input": "Hi", "max_output_tokens": 1}),
    ],
)
def test_a_shutdown_that_begins_meanwhile_refuses_nobody_who_waits(
    app: App, http: TestClient, method: str, path: str, body: object
) -> None:
    state: ServerState = app.state.server
    create = resources.create_resources

    def slow(*arguments: Any) -> Any:
        GracefulShutdown(state, 60).begin()
        return create(*arguments)

    with patch.object(resources, "create_resources", slow):
        assert http.request(method, path, json=body).status_code == 200
    assert http.request(method, path, json=body).status_code == 503


def test_a_failure_is_logged_and_answered_and_is_not_the_last_word(
    http: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with patch.object(resources, "create_resources", side_effect=ImportError("no such package")):
        response = http.get("/v1/models")
        assert http.post("/v1/completions", json=COMPLETION).status_code == 200

    assert response.status_code == 500
    assert response.json()["error"]["type"] == "server_error"
    assert "no such package" in caplog.text
    assert http.get("/v1/models").status_code == 200


class TestImportAheadOfNeed:
    """``pilotlight serve`` imports them when it is idle."""

    @pytest.fixture(autouse=True)
    def short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Idle at once."""
        monkeypatch.setattr(serve, "_IDLE_SECONDS", 0.002)
        monkeypatch.setattr(serve, "_IDLE_POLL", 0.001)

    def test_it_waits_for_the_end_of_requests(self, app: App) -> None:
        state = app.state.server
        state.n_active = 1
        polls = 0

        def wait(_: float) -> bool:
            nonlocal polls
            polls += 1
            if polls == 5:
                state.n_active = 0
            return False

        with patch.object(app, "resources") as build:
            build.side_effect = lambda: polls
            serve._import_resources(app, Mock(), Mock(wait=wait))
        assert polls >= 6
        build.assert_called_once()

    def test_nothing_is_imported_once_the_server_ends(self, app: App) -> None:
        """The interpreter's end would stop the thread within the import."""
        ending = threading.Event()
        ending.set()
        with patch.object(app, "resources", side_effect=AssertionError):
            serve._import_resources(app, Mock(), ending)

    def test_a_failure_ends_the_server(self, app: App, caplog: pytest.LogCaptureFixture) -> None:
        server = GracefulServer(app, app.state.server, 0)
        failing = ImportError("no such package")
        with patch.object(resources, "create_resources", side_effect=failing):
            serve._import_resources(app, server, threading.Event())

        assert server.exit_status() == 1
        assert app.state.server.is_shutting_down
        assert "no such package" in caplog.text


@pytest.mark.usefixtures("processes")
def test_an_app_without_requests_has_not_imported_fastapi() -> None:
    code = (
        "import sys\n"
        "from functions.http.app import create_app\n"
        "from shared.config.settings import Settings\n"
        "from shared.runtime.loader import ModelLoader\n"
        "settings = Settings()\n"
        "app = create_app(settings, ModelLoader(settings))\n"
        "print('fastapi' in sys.modules, 'functions.dashboard.routes' in sys.modules)\n"
        "app.resources()\n"
        "print('fastapi' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "True"]
