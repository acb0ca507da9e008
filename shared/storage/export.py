"""Stored completions as lines of JSON, as many as there are, a page in memory at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import orjson

from shared.storage.base import CompletionStore
from shared.storage.examples import NoExample, Selection
from shared.storage.types import CompletionQuery, StoredCompletion

Format = Literal["messages", "openai-evals", "raw"]

PAGE_SIZE = 100


@dataclass(slots=True, kw_only=True)
class Tally:
    """How many completions were read, how many lines they gave, what was left out and why."""

    completions: int = 0
    lines: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Count what ``other`` did."""
        self.completions += other.completions
        self.lines += other.lines
        self.left_out += other.left_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The lines of a page of completions. ``last_id``: where the next page goes on."""

    lines: bytes
    last_id: str
    tally: Tally


def batches(
    store: CompletionStore,
    query: CompletionQuery,
    format: Format,
    selection: Selection,
    limit: int | None = None,
) -> Iterator[Batch]:
    """The completions that ``query`` finds, up to ``limit`` of them, whatever its own limit is.

    Raises `StoreError`.
    """
    while limit is None or limit > 0:
        size = PAGE_SIZE if limit is None else min(limit, PAGE_SIZE)
        page = store.list(replace(query, limit=size))
        if not page.completions:
            return
        last_id = page.completions[-1].id
        yield _batch(page.completions, format, selection)
        if not page.has_more:
            return
        query = replace(query, after=last_id)
        limit = None if limit is None else limit - len(page.completions)


def _batch(completions: Sequence[StoredCompletion], format: Format, selection: Selection) -> Batch:
    tally = Tally(completions=len(completions))
    lines: list[bytes] = []
    for completion in completions:
        if format == "raw":
            lines.append(raw_line(completion))
            continue
        for choice in selection.chosen(completion):
            try:
                example = selection.example(completion, choice)
                line = example.training() if format == "messages" else example.evaluation()
            except NoExample as reason:
                tally.left_out[str(reason)] += 1
            else:
                lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    tally.lines = len(lines)
    return Batch(lines=b"".join(lines), last_id=completions[-1].id, tally=tally)


def raw_line(completion: StoredCompletion) -> bytes:
    """All that is stored of a completion: the fields of `StoredCompletion`."""
    return orjson.dumps(completion, option=orjson.OPT_APPEND_NEWLINE)
