"""Model loader: loads on a thread of its own, while the server already answers `GET /health`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from shared.config.settings import Settings

if TYPE_CHECKING:
    from shared.models.files import ModelFiles
    from shared.runtime.served_model import ServedModel

_log = logging.getLogger("pilotlight.models")

_FETCHED = 0.9
"""The progress when all is fetched, where it is not there already."""
_DRAFT_SHARE = 0.1
"""Of the progress, where there is a draft model, what is its: such a model is far smaller."""
_TRANSFER_SECONDS = 2.0
"""From the beginning to the model's first bytes; the AWS client's import takes most of it."""


class ModelLoader:
    """State of one model that a server serves: loading, ready or failed."""

    def __init__(self, settings: Settings, before_load: Callable[[], None] = lambda: None) -> None:
        """Of several own models in ``settings`` it loads the default one.

        ``before_load`` is called when its files are there.
        """
        self._before_load = before_load
        self._settings = next(iter(settings.own.values()))
        self._thread = threading.Thread(target=self._load, name="model-loader", daemon=True)
        self.progress = 0.0
        """The loaded fraction, 0 to 1."""
        self._is_underway = threading.Event()
        self.loaded: tuple[float, float] | None = None
        """When loading began and when it had succeeded, on `time.monotonic`'s clock."""
        self.served: ServedModel | None = None
        self.error: Exception | None = None
        self.is_abandoned = False
        """Whether the process ends while the model is still loading."""

    def start(self) -> None:
        """Begin loading."""
        self._thread.start()

    def await_transfer(self) -> None:
        """Return when the model's bytes are on their way, or llama.cpp is loading them.

        Imports on another thread before would delay that: only one thread runs Python. A source
        that does not answer within two seconds shall not delay these, though.
        """
        self._is_underway.wait(_TRANSFER_SECONDS)

    def wait(self) -> ServedModel:
        """The loaded model; raises what loading raised."""
        self._thread.join()
        if self.error is not None:
            raise self.error
        assert self.served is not None
        return self.served

    def has_ended(self, seconds: float | None = None) -> bool:
        """Wait, ``seconds`` at most; whether loading has come to an end by then, good or bad."""
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
            served = self._served(*self._fetched())
        except Exception as error:  # whoever waits re-raises it
            self.error = error
            self._is_underway.set()
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

    def _fetched(self) -> tuple[ModelFiles, ModelFiles | None]:
        """The files of the model, and of its draft model, if it has one.

        First of all comes what takes longest, by far, where it is fetched.
        """
        from shared.models.sources import draft_model_files, model_files

        settings = self._settings
        end = _FETCHED if settings.model_draft is None else (1 - _DRAFT_SHARE) * _FETCHED
        report = self._reports_until(end)

        def on_progress(fraction: float) -> None:
            report(fraction)
            self._is_underway.set()

        files = model_files(settings.model, settings.model_cache, on_progress)
        if settings.model_draft is None:
            return files, None
        self._is_underway.set()
        try:
            return files, draft_model_files(
                settings.model_draft, settings.model_cache, self._reports_until(_FETCHED)
            )
        except BaseException:
            files.close()
            raise

    def _served(self, files: ModelFiles, draft_files: ModelFiles | None) -> ServedModel:
        rest = 1 - self.progress
        end = 1.0 if draft_files is None else 1 - _DRAFT_SHARE * rest
        with ExitStack() as fetched_files:
            fetched_files.callback(files.close)
            if draft_files is not None:
                fetched_files.callback(draft_files.close)
            self._before_load()
            from shared.runtime.model_loading import load_own_model

            self._is_underway.set()
            model = load_own_model(self._settings, files, self._reports_until(end))
            # Much of what this imports the web framework's thread has imported meanwhile.
            from shared.runtime.served_model import ServedModel

            on_progress = self._reports_until(1.0)
            return ServedModel(self._settings, files, model, draft_files, on_progress)

    def _reports_until(self, end: float) -> Callable[[float], None]:
        """What takes a stage's progress, 0 to 1, at whose end that of all is ``end``."""
        start = self.progress

        def on_progress(fraction: float) -> None:
            self.progress = start + (end - start) * fraction

        return on_progress
