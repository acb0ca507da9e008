"""``pilotlight serve`` around its server."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from functions.cli import serve
from functions.http.app import App, create_app
from functions.http.server.uvicorn_server import GracefulServer
from shared.config.settings import Settings
from shared.runtime.loader import ModelLoader

SETTINGS = Settings(store="none")


@pytest.fixture
def app() -> Iterator[App]:
    """An app whose model is loaded."""
    loader = ModelLoader(SETTINGS)
    loader.start()
    loader.wait()
    app = create_app(SETTINGS, loader)
    yield app
    app.state.server.close()


def test_a_server_that_ends_before_its_model_is_loaded_is_not_announced(
    app: App, capsys: pytest.CaptureFixture[str]
) -> None:
    server = GracefulServer(app, app.state.server, 0)
    server.should_exit = True

    importer = threading.Thread()
    serve._announce(SETTINGS, app, "http://127.0.0.1:1", server, importer)

    assert capsys.readouterr().out == ""
    assert importer.ident is None
