"""The life of a container with a model, around the snapshot that Modal may take of its memory.

Without GPU snapshots a container has no GPU until it is restored. Then the snapshot holds what was
imported, and the model's file has been fetched into the Volume. llama.cpp must not look for GPUs
before, or it would remember that there was none; importing it does not make it look. With GPU
snapshots the model is loaded before, and the copies begin with it.

https://modal.com/docs/guide/memory-snapshots
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from functions.modal.deployment import Deployment, DeploymentError
from shared.config import configuration
from shared.config.settings import Settings
from shared.runtime.logging import configure_logging
from shared.runtime.process import STARTING, set_switch_interval
from shared.runtime.snapshot import after_restore, before_snapshot

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from functions.http.app import App
    from functions.modal.threaded_server import ThreadedServer
    from shared.runtime.loader import ModelLoader
    from shared.runtime.state import ServerState

_log = logging.getLogger("pilotlight")

_IMPORTED = (
    "functions.http.app",
    "functions.http.resources",
    "shared.engine.grammar.compiler",
    "shared.engine.grammar.grammar",
    "shared.models.s3.source",
    "shared.runtime.served_model",
    "shared.storage.dynamodb",
)
"""Modules that bring everything that is imported at first use."""


def container_settings(deployment: Deployment) -> Settings:
    """The settings; raises `ConfigurationError`, and `DeploymentError` without any key."""
    settings = configuration.load({})
    if not settings.needs_key and not deployment.proxy_auth:
        raise DeploymentError(
            "without an API key anybody could call this function: its Secret has no "
            "PILOTLIGHT_API_KEY_HASH"
        )
    configure_logging(settings.log_level)
    return settings


class InferenceContainer:
    """Loads the model, and has the app that serves it."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._loader: ModelLoader | None = None
        self._app: App | None = None
        self._server: ThreadedServer | None = None

    def fetch(self) -> None:
        """Download the model before a snapshot, so that copies find it.

        Not where it is kept in memory: that would be lost.
        """
        from shared.models.s3.cache import MEMORY
        from shared.models.sources import draft_model_files, model_files

        settings = container_settings(self._deployment)
        if self._deployment.memory_snapshot and settings.model_cache != MEMORY:
            model_files(settings.model, settings.model_cache).close()
            if settings.model_draft is not None:
                draft_model_files(settings.model_draft, settings.model_cache).close()

    def prepare(self) -> None:
        """Do what a snapshot can hold; without one, begin to load the model before the imports."""
        settings = container_settings(self._deployment)
        if not self._deployment.memory_snapshot:
            set_switch_interval(STARTING)
            self._begin_to_load(settings).await_transfer()
        for name in _IMPORTED:
            importlib.import_module(name)
        if self._deployment.gpu_snapshot:
            self._load(settings)
            before_snapshot(self.state)
        elif self._deployment.memory_snapshot:
            gc.collect()
            gc.freeze()

    def start(self) -> None:
        """Become ready for requests: in every container, after the snapshot if there is one."""
        started = time.monotonic()
        set_switch_interval()
        # The settings are read again: secrets may have changed since the snapshot.
        self._load(container_settings(self._deployment))
        after_restore(self.state)
        threading.Thread(target=self._end_with_engine, name="watcher", daemon=True).start()
        gc.collect()
        gc.freeze()
        _log.info("ready for requests after %.2f s", time.monotonic() - started)

    @property
    def state(self) -> ServerState:
        """What the app's handlers share; only once there is an app."""
        assert self._app is not None
        state: ServerState = self._app.state.server
        return state

    def asgi(self) -> ASGIApp:
        """The app, with what Modal's web functions need around it."""
        from functions.modal.shutdown import InterruptShutdown

        return InterruptShutdown(self._served_app(), self.state, self._deployment.grace_period)

    def listen(self, port: int) -> int:
        """Serve on ``port``, or any free one if it is 0; returns which."""
        from functions.modal.threaded_server import ThreadedServer

        self._server = ThreadedServer(
            self._served_app(), self.state, port=port, grace_period=self._deployment.grace_period
        )
        return self._server.port

    async def stop(self) -> None:
        """Let requests end within the grace period, and send their spans."""
        from shared.runtime.shutdown import shut_down

        if self._server is not None:
            await asyncio.to_thread(self._server.close)
        elif self._app is not None and not self.state.is_shutting_down:
            await shut_down(self.state, self._deployment.grace_period)
        if self._app is not None and self.state.tracing is not None:
            await asyncio.to_thread(self.state.tracing.close)

    def _end_with_engine(self) -> None:
        """End the container when its engine has died: Modal starts another one at need."""
        from functions.modal.shutdown import FLUSH_SECONDS
        from shared.runtime.shutdown import shut_down

        assert self._loader is not None
        if self._loader.wait().engine.wait():
            _log.error("the engine has died: the container ends, for another to be started")
            asyncio.run(shut_down(self.state, self._deployment.grace_period))
            time.sleep(FLUSH_SECONDS)
            os._exit(1)  # the main thread is that of Modal's runtime, which would go on

    def _load(self, settings: Settings) -> None:
        """An app with the model loaded; raises what keeps it from being loaded."""
        from functions.http.app import create_app
        from shared.runtime.deadline import TimeLimit

        loader = self._begin_to_load(settings)
        self._app = create_app(settings, loader)
        loader.wait()
        _warn_without_gpu()
        # Generations end before Modal's timeout would end the container.
        timeout = self._deployment.timeout
        self.state.time_limit = TimeLimit(lambda _: timeout, settings.deadline_margin)
        if self.state.tracing is not None:
            self.state.tracing.start()

    def _begin_to_load(self, settings: Settings) -> ModelLoader:
        """The model's loader, which is started once."""
        from shared.runtime.loader import ModelLoader

        if self._loader is None:
            self._loader = ModelLoader(settings)
            self._loader.start()
        return self._loader

    def _served_app(self) -> ASGIApp:
        assert self._app is not None
        return self._app


def _warn_without_gpu() -> None:
    from shared.engine.llama.bindings import lib

    if not lib.llama_supports_gpu_offload():
        _log.warning("no GPU is used: llama.cpp finds none, or is compiled without CUDA")
