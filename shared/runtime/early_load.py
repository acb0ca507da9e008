"""Early load: a model's weights, loaded while the settings that name it are still being imported.

Their import takes as long as llama.cpp takes for a small model. What to load is a guess meanwhile
(`functions.cli.serve_arguments`): what the settings don't confirm is dropped, and loaded as they
say.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shared.engine.llama.model_fit import load_model
from shared.engine.llama.offload import Offload
from shared.models.hub_cache import downloaded_before
from shared.models.sources import ModelSourceError, model_files
from shared.runtime.process import STARTING, set_switch_interval

if TYPE_CHECKING:
    from shared.engine.llama.model import Model


class EarlyLoad:
    """Load of one model, with the defaults of all settings, on a thread of its own."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        """Begin to load the model in ``paths``: one file, or all of a split model."""
        self._paths = paths
        self._model: Model | None = None
        self._error: Exception | None = None
        self._on_progress: Callable[[float], None] | None = None
        self._is_cancelled = False
        self._log = _EarlyLog()
        # No daemon: those are stopped at the interpreter's end, within llama.cpp's own functions.
        self._thread = threading.Thread(target=self._load, name="early-load")
        self._thread.start()

    def take(
        self, paths: Sequence[Path], offload: Offload, on_progress: Callable[[float], None]
    ) -> Model | None:
        """The model, once it is loaded; None, and nothing of it is left, if another one is meant.

        Raises what its loading raised.
        """
        if not _are_same(paths, self._paths) or offload != Offload():
            self.cancel()
        self._on_progress = on_progress
        self._thread.join()
        self._log.end(is_shown=not self._is_cancelled)
        model, self._model = self._model, None
        if not self._is_cancelled:
            if self._error is not None:
                raise self._error
            return model
        if model is not None:
            model.close()
        return None

    def cancel(self) -> None:
        """Have llama.cpp stop at the next of its steps, since nobody takes the model.

        One of these reads all of the file, where it is not in memory.
        """
        self._is_cancelled = True

    @property
    def is_running(self) -> bool:
        """Whether llama.cpp is still at it, also after `cancel`."""
        return self._thread.is_alive()

    def _load(self) -> None:
        try:
            self._model = load_model(self._paths, Offload(), self._note_progress)
        except Exception as error:  # for who takes the model
            self._error = error

    def _note_progress(self, fraction: float) -> bool:
        """Whether to go on."""
        if self._on_progress is not None:
            self._on_progress(fraction)
        return not self._is_cancelled


class _EarlyLog(logging.Handler):
    """Log records from before the log is configured, which shows them once it is.

    Without it they would go to standard error as they are, or nowhere. What is configured then is
    the default level, or nothing would be loaded early.
    """

    def __init__(self) -> None:
        super().__init__()
        self._records: list[logging.LogRecord] = []
        self._logger = logging.getLogger("pilotlight")
        self._level_before = self._logger.level
        self._logger.setLevel(logging.INFO)
        self._logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it, if nobody else shows it."""
        if not logging.getLogger().handlers:
            self._records.append(record)

    def end(self, *, is_shown: bool) -> None:
        """Keep no more, and show what was kept, or drop it."""
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level_before)
        records, self._records = self._records, []
        for record in records if is_shown else ():
            logger = logging.getLogger(record.name)
            if logger.isEnabledFor(record.levelno):
                logger.handle(record)


def _are_same(paths: Sequence[Path], others: Sequence[Path]) -> bool:
    """Whether paths lead to the same files: those of the hub's cache by revision are links."""
    try:
        return len(paths) == len(others) and all(map(Path.samefile, paths, others))
    except OSError:  # one is gone
        return False


_begun: EarlyLoad | None = None


def begin(source: str, environment: Mapping[str, str]) -> EarlyLoad | None:
    """Begin to load the model whose (first) file is ``source``, if there is one.

    Of the Hugging Face hub it is what was downloaded before, if anything was: the hub is asked
    meanwhile whether there is a newer one.
    """
    global _begun  # noqa: PLW0603 - a process has one model to begin with
    try:
        if source.startswith("hf:"):
            paths = downloaded_before(source, environment)
        else:
            paths = model_files(source).paths
    except (ModelSourceError, OSError):
        return None  # whoever reads the settings says so
    if not paths:
        return None
    set_switch_interval(STARTING)
    _begun = EarlyLoad(paths)
    return _begun


def take(
    paths: Sequence[Path], offload: Offload, on_progress: Callable[[float], None]
) -> Model | None:
    """The model of these files if it was begun early, at most once; see `EarlyLoad.take`."""
    global _begun
    begun, _begun = _begun, None
    return begun.take(paths, offload, on_progress) if begun is not None else None
