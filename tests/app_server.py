"""The app in this process, asked as `tests.server.ServerProcess` is: for all that needs no process."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

import uvloop

from functions.cli import commands
from functions.http.app import create_app
from functions.http.cors import CrossOriginPolicy
from functions.http.origin_guard import OriginGuard
from shared.config.settings import Settings
from shared.runtime.background_responses import BackgroundResponses
from shared.runtime.loader import ModelLoader
from shared.runtime.model_pool import ModelPool
from shared.runtime.process import set_switch_interval
from tests.asgi import AppTransport
from tests.server import Server, environment

_LOGGED = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class AppServer(Server):
    """The app that ``pilotlight serve`` would serve, on an event loop of its own.

    What a process adds is missing: sockets and HTTP/1.1, limits of connections, signals, what is
    printed. Its log is all that this process logs meanwhile.
    """

    def __init__(
        self, log: Path, *arguments: str, environ: Mapping[str, str] | None = None
    ) -> None:
        """Load the model; ``arguments`` are those of ``pilotlight serve``."""
        super().__init__(log)
        settings = _settings(*arguments, environ={**self.environ, **(environ or {})})
        set_switch_interval()
        self._handler = logging.FileHandler(log, encoding="utf-8")
        self._handler.setFormatter(logging.Formatter(_LOGGED))
        self._handler.setLevel(settings.log_level.upper())
        logger = logging.getLogger()
        logger.addHandler(self._handler)
        logger.setLevel(min(logger.level, self._handler.level))
        for noisy in ("httpx2", "httpcore2", "asyncio", "openai"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        loader = ModelLoader(settings)
        loader.start()
        try:
            self.model = loader.wait().name
            app = create_app(settings, loader)
        except BaseException:
            self._close_log()
            raise
        if not settings.needs_key:
            app.state.server.guard = OriginGuard(
                settings.allowed_hosts, CrossOriginPolicy.of(settings)
            ).check
        app.state.server.background = BackgroundResponses(settings.background_responses)
        self.url = "http://127.0.0.1:8000"  # which only its own clients find here
        self._state = app.state.server
        self.models: ModelPool = self._state.models
        self._loop = uvloop.new_event_loop()
        self._transport = AppTransport(app, self._loop)
        self._thread = threading.Thread(target=self._loop.run_forever, name=log.stem, daemon=True)
        self._thread.start()
        self.http = self.client()

    def transport(self) -> AppTransport:
        """Where clients send requests."""
        return self._transport

    def async_transport(self) -> AppTransport:
        """Likewise."""
        return self._transport

    def stop(self) -> None:
        """End requests and the engine."""
        self.http.close()
        self._state.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(_ended(self._loop))
        self._loop.close()
        self._close_log()

    def _close_log(self) -> None:
        logging.getLogger().removeHandler(self._handler)
        self._handler.close()


async def _ended(loop: asyncio.AbstractEventLoop) -> None:
    """Let what still runs on a loop end: the engine's end has told it."""
    tasks = asyncio.all_tasks(loop) - {asyncio.current_task()}
    await asyncio.gather(*tasks, return_exceptions=True)


def _settings(*arguments: str, environ: Mapping[str, str]) -> Settings:
    """What ``pilotlight serve`` would serve with; raises `AssertionError` where it would not."""
    found: list[Settings] = []

    def serve(settings: Settings) -> int:
        found.append(settings)
        return 0

    with (
        patch.dict(os.environ, environment(environ), clear=True),
        patch("functions.cli.serve.serve", serve),
    ):
        assert commands.run(["serve", *arguments]) == 0
    return found[0]
