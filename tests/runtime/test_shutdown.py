"""Draining without a server or signals, as a platform's exit hook does it."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from functions.http.app import App, create_app
from functions.http.server.uvicorn_server import GracefulServer
from shared.config.settings import Settings
from shared.runtime.loader import ModelLoader
from shared.runtime.shutdown import shut_down
from shared.runtime.state import ServerState

STORY = {
    "messages": [{"role": "user", "content": "Tell me a story"}],
    "ignore_eos": True,
    "stream": True,
    "store": True,
}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    """The app with the built-in model and a store of its own."""
    settings = Settings(data_dir=tmp_path)
    loader = ModelLoader(settings)
    loader.start()
    loader.wait()
    app = create_app(settings, loader)
    yield app
    app.state.server.close()


def drained(app: App, grace_period: float, max_tokens: int) -> str:
    """What a stream sends that runs when draining begins."""
    state: ServerState = app.state.server
    assert state.loader is not None
    engine = state.loader.wait().engine

    async def run() -> str:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app), base_url="http://test"
        ) as client:
            body = {**STORY, "max_tokens": max_tokens}
            stream = asyncio.create_task(client.post("/v1/chat/completions", json=body))
            while not engine.stats().sequences_running:
                await asyncio.sleep(0)
            await shut_down(state, grace_period)
            refused = await client.post("/v1/chat/completions", json=body)
            assert refused.status_code == 503
            return (await stream).text

    return asyncio.run(run())


@pytest.mark.slow
def test_what_ends_in_time_ends_normally(app: App, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    text = drained(app, grace_period=60, max_tokens=300)
    assert "[DONE]" in text
    assert (
        "shut down: 1 requests ended, 0 were cut off; 1 completions stored, 0 not"
        in caplog.messages
    )


def test_what_takes_longer_is_told_and_stored(app: App, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    text = drained(app, grace_period=0, max_tokens=3000)
    assert "[DONE]" not in text
    assert "The server is shutting down" in text
    assert (
        "shut down: 0 requests ended, 1 were cut off; 1 completions stored, 0 not"
        in caplog.messages
    )


def test_a_signal_interrupts_nothing_that_its_shutdown_would_wait_for(app: App) -> None:
    """Say a counter that is being changed: its lock is the same thread's."""
    state: ServerState = app.state.server

    async def run() -> bool:
        server = GracefulServer(app, state, grace_period=0)
        serving = asyncio.create_task(server.serve([]))
        while not server.started:
            await asyncio.sleep(0)
        signal.raise_signal(signal.SIGTERM)
        is_at_once = state.is_shutting_down
        await serving
        return is_at_once

    assert not asyncio.run(run())
    assert state.is_shutting_down
