"""Early fetch: a model's bytes are on their way from S3 while settings are still being imported.

These take as long to import as AWS's library does, and only one thread at a time runs Python, but
what arrives then needs little of it. What to fetch is a guess: what the settings don't confirm is
fetched as they say.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.models.files import ModelFiles

_TRANSFER_SECONDS = 2.0
"""For the first bytes to come, most of it for the import of AWS's library."""


class EarlyFetch:
    """Fetch of one model's files on a thread of its own, which nothing interrupts."""

    def __init__(self, source: str, cache: str | None) -> None:
        """Begin; parameters are those of `shared.models.sources.model_files`."""
        self.asked = (source, cache)
        self._progress: float | None = None
        self._on_progress: Callable[[float], None] = lambda _: None
        self._is_underway = threading.Event()
        self._files: ModelFiles | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._fetch, name="early-fetch", daemon=True)
        self._thread.start()

    def await_transfer(self) -> None:
        """Return when bytes are on their way, or two seconds have passed."""
        self._is_underway.wait(_TRANSFER_SECONDS)

    def take(self, on_progress: Callable[[float], None]) -> ModelFiles:
        """The files, once they are there; raises what fetching raised."""
        self._on_progress = on_progress
        if self._progress is not None:
            on_progress(self._progress)
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._files is not None
        return self._files

    def _fetch(self) -> None:
        try:
            from shared.models.s3.source import fetch  # brings AWS's library

            self._files = fetch(*self.asked, self._note_progress)
        except Exception as error:  # for who takes the files
            self._error = error
        self._is_underway.set()

    def _note_progress(self, fraction: float) -> None:
        self._progress = fraction
        self._on_progress(fraction)
        self._is_underway.set()


_begun: EarlyFetch | None = None


def begin(source: str, cache: str | None) -> EarlyFetch:
    """Begin to fetch ``source``, ``s3://BUCKET/KEY``, into ``cache``."""
    global _begun  # noqa: PLW0603 - a process has one model to begin with
    _begun = EarlyFetch(source, cache)
    return _begun


def take(source: str, cache: str | None, on_progress: Callable[[float], None]) -> ModelFiles | None:
    """The files that were begun early, at most once; None where others are asked for."""
    global _begun
    begun, _begun = _begun, None
    return begun.take(on_progress) if begun is not None and begun.asked == (source, cache) else None
