"""The app in this process for the tests of the API: what `tests.conftest` starts a process for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.api.tenants import admin_server, tenant
from tests.app_server import AppServer
from tests.conftest import KEYED

__all__ = ["admin_server", "tenant"]

StartServer = Callable[..., AppServer]
FAMILIES = Path(__file__).parent.parent / "chat" / "templates"


@pytest.fixture(scope="session")
def server(log_directory: Path) -> Iterator[AppServer]:
    """The app with the built-in model and default settings."""
    server = AppServer(log_directory / "app.log")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def keyed_server(log_directory: Path) -> Iterator[AppServer]:
    """The app with an API key, two names for the model, and small limits."""
    server = AppServer(log_directory / "keyed-app.log", *KEYED)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def family_server(request: pytest.FixtureRequest, log_directory: Path) -> Iterator[AppServer]:
    """The app with the chat template of the family that a test names: ``indirect`` parameters."""
    template = FAMILIES / f"{request.param}.jinja"
    server = AppServer(
        log_directory / f"app-{request.param}.log", "--chat-template-file", str(template)
    )
    yield server
    server.stop()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Makes apps with options of the test's own; they end with it."""
    started: list[AppServer] = []

    def start(*arguments: str, environ: dict[str, str] | None = None) -> AppServer:
        log = tmp_path / f"app-{len(started)}.log"
        started.append(AppServer(log, *arguments, environ=environ))
        return started[-1]

    yield start
    for server in started:
        server.stop()
