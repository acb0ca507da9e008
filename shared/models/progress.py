"""Progress of a model's download: a bar on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LINE_SECONDS = 5.0
"""From one log line to the next."""

_log = logging.getLogger("pilotlight.models")


class FetchProgress:
    """Counts bytes, from any thread."""

    def __init__(
        self,
        source: str,
        size: int,
        on_progress: Callable[[float], None],
        show: Callable[[int], None],
    ) -> None:
        self._source = source
        self._size = size
        self._on_progress = on_progress
        self._show = show
        self.done = 0
        """Bytes that are there."""
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """``count`` further bytes are there."""
        with self._lock:
            self.done += count
            self._show(self.done)
            self._on_progress(self.done / self._size)

    def reset(self, done: int) -> None:
        """Only ``done`` bytes are there, after all."""
        with self._lock:
            self.done = done


@contextmanager
def fetch_progress(
    source: str, size: int, on_progress: Callable[[float], None]
) -> Iterator[FetchProgress]:
    """Shows the progress of ``size`` bytes from ``source``, on standard error or in the log."""
    if not sys.stderr.isatty():
        yield FetchProgress(source, size, on_progress, _Lines(source, size).show)
        return
    # Only a terminal needs it, and it is slow to import.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        *(BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(source, total=size)
        yield FetchProgress(
            source, size, on_progress, lambda done: bar.update(task, completed=done)
        )


class _Lines:
    """A log line now and then."""

    def __init__(self, source: str, size: int) -> None:
        self._source = source
        self._size = size
        self._started = time.monotonic()
        self._next = self._started + _LINE_SECONDS

    def show(self, done: int) -> None:
        """``done`` bytes are there."""
        now = time.monotonic()
        if now < self._next and done < self._size:
            return
        self._next = now + _LINE_SECONDS
        seconds = max(now - self._started, 1e-9)
        _log.info(
            "%s: %.2f of %.2f GB, %.0f MB/s",
            *(self._source, done / 1e9, self._size / 1e9, done / 1e6 / seconds),
        )
