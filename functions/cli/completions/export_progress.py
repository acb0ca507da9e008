"""Progress of an export: a bar on a terminal, lines elsewhere. Both go to standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from shared.storage.export.lines import ExportCounts
from shared.storage.types import CompletionQuery, id_time

_LINE_EVERY = 1000
"""Completions from one line to the next."""


class ExportProgress(Protocol):
    """What an export tells after each page."""

    def show(self, counts: ExportCounts, last_id: str) -> None:
        """So much is done, up to the completion ``last_id``."""


@contextmanager
def export_progress(
    query: CompletionQuery, limit: int | None, *, has_bar: bool
) -> Iterator[ExportProgress]:
    """Shows the progress of an export of what ``query`` finds, up to ``limit`` completions.

    A bar appears on a terminal only, and if ``has_bar``.
    """
    console = Console(stderr=True)
    if not (has_bar and console.is_terminal):
        yield _Lines()
        return
    columns = (
        TextColumn("exporting"),
        BarColumn(),
        TextColumn("{task.fields[completions]} completions, {task.fields[lines]} lines"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield _Bar(bar, query, limit)


class _Lines:
    """A line now and then, for logs."""

    def __init__(self) -> None:
        self._next = _LINE_EVERY

    def show(self, counts: ExportCounts, last_id: str) -> None:
        """See `ExportProgress.show`."""
        if counts.completions >= self._next:
            print(f"{counts.completions} completions, up to {last_id}", file=sys.stderr)
            self._next = (counts.completions // _LINE_EVERY + 1) * _LINE_EVERY


class _Bar:
    """A bar.

    Nobody knows how many completions there are without reading them. But ids are times, so it is
    known how much of the time between the first and the last one is done.
    """

    def __init__(self, bar: Progress, query: CompletionQuery, limit: int | None) -> None:
        self._bar = bar
        self._limit = limit
        is_ascending = query.order == "asc"
        self._first = query.since if is_ascending else query.until
        self._last = (query.until or time.time()) if is_ascending else query.since
        self._task: TaskID = bar.add_task("", total=None, completions=0, lines=0)

    def show(self, counts: ExportCounts, last_id: str) -> None:
        """See `ExportProgress.show`."""
        done = self._done(counts, id_time(last_id))
        self._bar.update(
            self._task,
            total=None if done is None else 1.0,
            completed=done or 0.0,
            completions=counts.completions,
            lines=counts.lines,
        )

    def _done(self, counts: ExportCounts, now_at: float) -> float | None:
        """The part that is done, None where that is not known."""
        if self._limit is not None:
            return counts.completions / self._limit
        if self._first is None:
            self._first = now_at
        if self._last is None or self._last == self._first:
            return None
        return min(max((now_at - self._first) / (self._last - self._first), 0.0), 1.0)
