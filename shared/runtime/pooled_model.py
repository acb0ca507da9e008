"""Pooled model: one own model of several, and the requests that wait for it to be loaded."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from shared.protocol.errors import APIError, model_loading
from shared.runtime.loader import ModelLoader

if TYPE_CHECKING:
    from shared.config.settings import Settings
    from shared.runtime.served_model import ServedModel


class Waiting:
    """A request that waits for a model to be loaded, and the model once it is."""

    def __init__(self) -> None:
        self.served: ServedModel | None = None
        self._woken: Future[None] = Future()

    def wake(self, _loading: Future[None] | None = None) -> None:
        """Let the request look again; any thread may call it, more than once."""
        with suppress(InvalidStateError):
            self._woken.set_result(None)

    async def wait(self, until: float | None) -> None:
        """Wait for `wake`; raises `TimeoutError` at ``until``."""
        seconds = None if until is None else max(until - time.monotonic(), 0)
        async with asyncio.timeout(seconds):
            await asyncio.wrap_future(self._woken)


class PooledModel:
    """One own model: its settings, and whether and for whom it is loaded."""

    def __init__(self, settings: Settings, loader: ModelLoader) -> None:
        self.settings = settings
        self.loader = loader
        self.names = settings.names
        self.n_users = 0
        """Requests that it is loaded for."""
        self.waiting: list[Waiting] = []
        """Requests that wait for it to be loaded."""
        self.last_used = 0.0
        """On `time.monotonic`'s clock."""
        self.is_leaving = False
        """Whether it is to make room: it takes no more requests."""
        self.failed_at: float | None = None
        self.loading: Future[None] | None = None

    @property
    def name(self) -> str:
        """The one that answers carry."""
        return self.names[0]

    @property
    def status(self) -> Literal["unloaded", "loading", "loaded", "failed"]:
        """In llama-server's words."""
        if self.loader.served is not None:
            return "loaded"
        if self.loading is not None:
            return "loading"
        return "failed" if self.failed_at is not None else "unloaded"


def still_loading(model: PooledModel) -> APIError:
    """503: the model is not there yet."""
    percent = int(100 * model.loader.progress)
    return model_loading(f"The model is still loading ({percent} %). Try again shortly.")
