"""JSON lines of an export of stored completions, a page in memory at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import orjson

from shared.storage.base import CompletionStore
from shared.storage.export.examples import NoExample, Selection
from shared.storage.types import CompletionQuery, Page, StoredCompletion

Format = Literal["messages", "openai-evals", "raw"]

PAGE_SIZE = 100

_NO_SUCH_SHAPE = (LookupError, TypeError, AttributeError, ValueError)
"""What examples meet in requests and responses that no server has written."""


@dataclass(slots=True, kw_only=True)
class ExportCounts:
    """How many completions were read, how many lines they gave, what was left out and why.

    ``damaged`` has the ids of those that could not be read.
    """

    completions: int = 0
    lines: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    damaged: list[str] = field(default_factory=list)

    def add(self, other: ExportCounts) -> None:
        """Count what ``other`` did."""
        self.completions += other.completions
        self.lines += other.lines
        self.left_out += other.left_out
        self.damaged += other.damaged


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The lines of a page of completions. ``last_id``: where the next page goes on, if anywhere."""

    lines: bytes
    last_id: str | None
    counts: ExportCounts


def batches(
    store: CompletionStore,
    query: CompletionQuery,
    format: Format,
    selection: Selection,
    limit: int | None = None,
    *,
    matches: Callable[[StoredCompletion], bool] | None = None,
) -> Iterator[Batch]:
    """The completions that ``query`` finds, up to ``limit`` of them, whatever its own limit is.

    ``matches``: whether one is exported, where a query can't say it; others count for no limit.
    Raises `StoreError`.
    """
    while limit is None or limit > 0:
        is_limited = limit is not None and matches is None
        size = min(limit or PAGE_SIZE, PAGE_SIZE) if is_limited else PAGE_SIZE
        page = store.list(replace(query, limit=size))
        if page.completions:
            query = replace(query, after=page.completions[-1].id)
        elif not page.damaged:
            return
        if matches is not None:
            page = replace(page, completions=list(filter(matches, page.completions))[:limit])
        lines, counts = _lines(page, format, selection)
        yield Batch(lines=lines, last_id=query.after, counts=counts)
        if not page.has_more:
            return
        limit = None if limit is None else limit - len(page.completions)


def _lines(page: Page, format: Format, selection: Selection) -> tuple[bytes, ExportCounts]:
    counts = ExportCounts(damaged=list(page.damaged))
    lines: list[bytes] = []
    for completion in page.completions:
        try:
            made, left_out = _lines_of(completion, format, selection)
        except _NO_SUCH_SHAPE:
            counts.damaged.append(completion.id)
            continue
        counts.completions += 1
        counts.left_out.update(left_out)
        lines += made
    counts.lines = len(lines)
    return b"".join(lines), counts


def _lines_of(
    completion: StoredCompletion, format: Format, selection: Selection
) -> tuple[list[bytes], list[str]]:
    """A completion's lines, and why choices of it make none."""
    if format == "raw":
        return [raw_line(completion)], []
    lines: list[bytes] = []
    left_out: list[str] = []
    for choice in selection.chosen(completion):
        try:
            example = selection.example(completion, choice)
            line = example.training() if format == "messages" else example.evaluation()
        except NoExample as reason:
            left_out.append(str(reason))
        else:
            lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    return lines, left_out


def raw_line(completion: StoredCompletion) -> bytes:
    """All that is stored of a completion: the fields of `StoredCompletion`."""
    return orjson.dumps(completion, option=orjson.OPT_APPEND_NEWLINE)
