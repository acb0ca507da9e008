"""Whether a request may be evaluated on the event loop: only where nothing else waits for that."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

from functions.http.app import App, create_app
from functions.http.server.uvicorn_server import GracefulServer
from shared.completion.completion import Completion
from shared.completion.metering import Meter
from shared.config.settings import Settings
from shared.engine.mailbox.generation import Generation
from shared.engine.types import GenerationRequest
from shared.runtime.loader import ModelLoader


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    settings = Settings(threads=1, store="none", ctx_size=4096)
    loader = ModelLoader(settings)
    loader.start()
    loader.wait()
    yield create_app(settings, loader)
    loader.close()


@pytest.fixture
def asked(app: App, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each request whether it was submitted as one that may be evaluated at once."""
    engine = app.state.server.loader.served.engine
    submit, found = engine.submit, []

    def noted(*requests: GenerationRequest, inline: bool, **fields: Any) -> Generation:
        found.append(inline)
        generation: Generation = submit(*requests, inline=inline, **fields)
        return generation

    monkeypatch.setattr(engine, "submit", noted)
    return found


async def ask(app: App) -> int:
    body = json.dumps({"prompt": "Once", "max_tokens": 1}).encode()
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/completions",
        "raw_path": b"/v1/completions",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1")],
    }
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)  # others begin meanwhile
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(scope, receive, send)
    return statuses[0]


def test_a_request_that_is_alone_may_be(app: App, asked: list[bool]) -> None:
    assert asyncio.run(ask(app)) == 200
    assert asked == [True]


def test_one_of_several_may_not(app: App, asked: list[bool]) -> None:
    async def both() -> list[int]:
        return list(await asyncio.gather(ask(app), ask(app)))

    assert asyncio.run(both()) == [200, 200]
    assert asked[0] is False


def test_the_server_knows_what_is_about_to_begin(app: App, asked: list[bool]) -> None:
    state = app.state.server
    n_begun = state.n_begun
    server = GracefulServer(app, state, 0)

    async def beside(n_tasks: int) -> None:
        tasks = [asyncio.ensure_future(asyncio.sleep(0)) for _ in range(n_tasks)]
        server.server_state.tasks.update(tasks)
        await ask(app)
        server.server_state.tasks.clear()

    try:
        asyncio.run(beside(1))
        asyncio.run(beside(2))
        state.n_active += 1  # say a response in the background
        asyncio.run(beside(1))
    finally:
        state.n_begun = n_begun
        state.n_active = 0

    assert asked == [True, False, False]


@pytest.mark.parametrize("has_reserved", [True, False])
def test_what_may_be_refused_yet_is_not_evaluated(
    app: App, asked: list[bool], has_reserved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = MagicMock(Meter, has_reserved=has_reserved, headers={}, cost=None)
    meter.reserve = meter.settle = meter.abandon = AsyncMock()
    monkeypatch.setattr(Completion, "_new_meter", lambda _: meter)

    assert asyncio.run(ask(app)) == 200
    assert asked == [has_reserved]
