"""Loads the model on a thread of its own, while the server already answers `GET /health`."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from shared.settings import Settings

if TYPE_CHECKING:
    from shared.models.served import ServedModel

_log = logging.getLogger(__name__)


class ModelLoader:
    """State of the one model that a server serves: loading, ready or failed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._thread = threading.Thread(target=self._load, name="model-loader", daemon=True)
        self.progress = 0.0
        """The loaded fraction, 0 to 1."""
        self.loaded: tuple[float, float] | None = None
        """When loading began and when it had succeeded, on `time.monotonic`'s clock."""
        self.served: ServedModel | None = None
        self.error: Exception | None = None
        self.is_abandoned = False
        """Whether the process ends while the model is still loading."""

    def start(self) -> None:
        """Begin loading."""
        self._thread.start()

    def wait(self) -> ServedModel:
        """The loaded model; raises what loading raised."""
        self._thread.join()
        if self.error is not None:
            raise self.error
        assert self.served is not None
        return self.served

    def has_ended(self, seconds: float) -> bool:
        """Wait ``seconds`` at most; whether loading has come to an end by then, good or bad."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """Wait no more: the process ends. What fetches a model can't be interrupted."""
        self.is_abandoned = self._thread.is_alive()

    def close(self) -> None:
        """Free the model, once loaded."""
        if self._thread.is_alive() and not self.is_abandoned:
            self._thread.join()
        if self.served is not None:
            self.served.close()
            self.served = None

    def _load(self) -> None:
        started = time.monotonic()
        try:
            # llama.cpp and NumPy are imported here, beside the web framework's imports.
            from shared.models.served import ServedModel

            served = ServedModel(self._settings, self._set_progress)
        except Exception as error:  # whoever waits re-raises it
            self.error = error
            return
        self.loaded = started, time.monotonic()
        self.served = served
        _log.info(
            "model %s ready in %.2f s: %s, tokens of context: %d, threads: %d",
            served.name,
            self.loaded[1] - started,
            served.model.description,
            served.engine.n_ctx,
            served.engine.n_threads,
        )

    def _set_progress(self, fraction: float) -> None:
        self.progress = fraction
