"""Export of a view as JSON lines, to fine-tune or evaluate with.

It makes the lines that ``pilotlight completions export`` makes. A page of
completions is in memory at a time. A file ends whole, or the download fails: a part of one would
look like all of it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from starlette.datastructures import QueryParams
from starlette.responses import Response, StreamingResponse

from functions.dashboard.completions.asked_view import AskedView, asked_view
from functions.dashboard.handling import PageRequest
from shared.protocol.errors import APIError
from shared.runtime.request_context import request_context
from shared.storage.base import CompletionStore, StoreError
from shared.storage.export.examples import Included, Selection
from shared.storage.export.lines import Batch, ExportCounts, Format, batches

FORMATS: dict[Format, str] = {
    "messages": "Fine-tuning (messages)",
    "openai-evals": "Evaluation (OpenAI Evals)",
    "raw": "Everything that is stored",
}
LIMITS = (100, 1_000, 10_000)
"""Completions; the terminal exports more."""
SECONDS = 240.0
"""After which a download fails."""
_FILE = "export/completions.jsonl"
_PREVIEW = 25
"""Completions."""
_INCLUDED: tuple[Included, ...] = ("incomplete", "length")


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What the form says beside the filters."""

    format: Format
    selection: Selection
    limit: int

    @classmethod
    def of(cls, sent: QueryParams) -> ExportOptions:
        """By a URL's parameters; what is none of the choices is the first one."""
        format: Format = next((each for each in FORMATS if each == sent.get("format")), "messages")
        limits = [limit for limit in LIMITS if str(limit) == sent.get("limit")]
        choices: Literal["first", "all"] = "all" if sent.get("choices") == "all" else "first"
        selection = Selection(
            choices=choices,
            include=frozenset(name for name in _INCLUDED if name in sent.getlist("include")),
            reasoning="reasoning" in sent,
        )
        return cls(format, selection, limits[0] if limits else LIMITS[1])

    def parameters(self) -> dict[str, object]:
        """Of the file's URL."""
        selection = self.selection
        return {
            "format": self.format,
            "choices": selection.choices,
            "include": sorted(selection.include),
            "reasoning": "on" if selection.reasoning else "",
            "limit": self.limit,
        }


async def show_export(page: PageRequest) -> Response:
    """The form, and what the first completions would give."""
    asked, options = await asked_view(page), ExportOptions.of(page.request.query_params)
    preview = None
    if asked.query(1) is not None:
        preview = await page.state.stores.in_store(
            lambda store: next(_batches(store, asked, replace(options, limit=_PREVIEW)), None)
        )
    return await page.render(
        "export.html",
        **asked.values(),
        **_preview(preview),
        options=options,
        formats=FORMATS,
        limits=LIMITS,
        file=page.url(
            "export/completions.jsonl", **asked.filters.parameters(), **options.parameters()
        ),
    )


async def download_export(page: PageRequest) -> Response:
    """The file."""
    asked, options = await asked_view(page), ExportOptions.of(page.request.query_params)
    if asked.query(1) is None:
        message = " ".join(asked.filters.problems) or "There is nothing to export."
        raise APIError(400, message)
    context = request_context()
    until = time.monotonic() + SECONDS
    if context.deadline is not None:
        until = min(until, context.deadline.end_of_storing)

    def begin(store: CompletionStore) -> tuple[Iterator[Batch], Batch | None]:
        found = _batches(store, asked, options)
        return found, next(found, None)

    # A store that fails is a page, not half a file.
    found, first = await page.state.stores.in_store(begin)

    async def lines() -> AsyncIterator[bytes]:
        batch = first
        while batch is not None:
            yield batch.lines
            if time.monotonic() > until:
                raise StoreError("an export took too long, and its file is not whole")
            batch = await page.state.stores.in_store(lambda _: next(found, None))

    day = datetime.fromtimestamp(page.state.clock(), UTC).date().isoformat()
    name = f"{options.format}-{asked.filters.kind}-{day}.jsonl"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(lines(), headers=headers, media_type="application/jsonl")


def _batches(store: CompletionStore, asked: AskedView, options: ExportOptions) -> Iterator[Batch]:
    query = asked.query(1)
    assert query is not None
    filters = asked.filters
    matches = filters.matches if filters.is_scanned else None
    query = replace(query, after=None, order="desc")
    return batches(store, query, options.format, options.selection, options.limit, matches=matches)


def _preview(batch: Batch | None) -> dict[str, Any]:
    if batch is None:
        return {"counts": ExportCounts(), "first_line": ""}
    line, _, _ = batch.lines.partition(b"\n")
    return {"counts": batch.counts, "first_line": line[:8000].decode("utf-8", "replace")}
