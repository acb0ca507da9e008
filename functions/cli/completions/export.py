"""``pilotlight completions export``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from functions.cli.completions.export_progress import ExportProgress, export_progress
from functions.cli.completions.source import damaged_ones, tenant_advice
from functions.cli.usage_error import UsageError
from shared.config.settings import Settings
from shared.storage.base import CompletionStore, StoreError
from shared.storage.export.examples import Selection
from shared.storage.export.file import ExportError, ExportFile, state_path
from shared.storage.export.lines import ExportCounts, batches
from shared.storage.types import DEFAULT_TENANT, CompletionQuery

_STANDARD_OUTPUT = "-"


def export(
    store: CompletionStore,
    settings: Settings,
    options: argparse.Namespace,
    metadata: Mapping[str, str],
) -> int:
    """Write what ``options`` ask for; returns the exit status.

    Raises `ExportError` and `StoreError`.
    """
    _check(options)
    query = CompletionQuery(
        tenant=options.tenant or DEFAULT_TENANT,
        kind=options.kind,
        order=options.order,
        model=options.of_model,
        metadata=metadata,
        since=options.since and options.since.seconds,
        until=options.until and options.until.seconds,
    )
    to_terminal = options.output == _STANDARD_OUTPUT and sys.stdout.isatty()
    with export_progress(query, options.limit, has_bar=not to_terminal) as progress:
        if options.output == _STANDARD_OUTPUT:
            counts = _write(store, query, options, progress)
        else:
            counts = _write_file(
                store, query, options, _request(settings, query, options), progress
            )
    nothing = (
        ""
        if counts.completions
        else f" of tenant '{query.tenant}'{tenant_advice(store, query.tenant)}"
    )
    print(f"{_summary(counts, options.output)}{nothing}", file=sys.stderr)
    return 0


def _check(options: argparse.Namespace) -> None:
    """Raise `UsageError` for options that have no effect, `ExportError` before files are lost."""
    if options.format == "raw" and (options.choices or options.include or options.reasoning):
        raise UsageError("--format raw has everything: no --choices, --include or --reasoning")
    if options.resume and options.overwrite:
        raise UsageError("--resume goes on with a file, --overwrite begins it anew")
    if options.output == _STANDARD_OUTPUT:
        if options.resume or options.overwrite:
            raise UsageError("--resume and --overwrite need a file: --output FILE")
        return
    path = Path(options.output)
    state = state_path(path)
    if options.overwrite or not (path.exists() or state.exists()):
        return
    if state.exists() and not options.resume:
        raise ExportError(
            f"{path} is an interrupted export: --resume goes on with it, --overwrite begins anew"
        )
    if not state.exists() and options.resume:
        raise ExportError(f"{path} is no interrupted export: there is no {state.name} beside it")
    if not options.resume:
        raise ExportError(f"{path} exists: --overwrite replaces it")


def _request(
    settings: Settings, query: CompletionQuery, options: argparse.Namespace
) -> dict[str, Any]:
    """What is exported, as an export's state keeps it: the options, and what times they meant."""
    return {
        "options": {
            "--format": options.format,
            "--kind": query.kind,
            "--tenant": query.tenant,
            "--model": query.model,
            "--metadata": dict(query.metadata),
            "--since": options.since and options.since.text,
            "--until": options.until and options.until.text,
            "--limit": options.limit,
            "--order": query.order,
            "--choices": options.choices,
            "--include": sorted(options.include or ()),
            "--reasoning": options.reasoning,
            "--store": settings.store,
            "--data-dir": settings.data_dir and str(settings.data_dir),
        },
        "since": query.since,
        "until": query.until,
    }


def _selection(options: argparse.Namespace) -> Selection:
    return Selection(
        choices=options.choices or "first",
        include=options.include or frozenset(),
        reasoning=options.reasoning,
    )


def _write(
    store: CompletionStore,
    query: CompletionQuery,
    options: argparse.Namespace,
    progress: ExportProgress,
) -> ExportCounts:
    counts = ExportCounts()
    for batch in batches(store, query, options.format, _selection(options), options.limit):
        sys.stdout.buffer.write(batch.lines)
        sys.stdout.buffer.flush()
        counts.add(batch.counts)
        if batch.last_id is not None:
            progress.show(counts, batch.last_id)
    return counts


def _write_file(
    store: CompletionStore,
    query: CompletionQuery,
    options: argparse.Namespace,
    request: dict[str, Any],
    progress: ExportProgress,
) -> ExportCounts:
    path = Path(options.output)
    with closing(ExportFile(path, request, resume=options.resume)) as file:
        begun, asked = file.request["options"], request["options"]
        if other := [name for name in asked if asked[name] != begun.get(name)]:
            raise ExportError(f"{path} was begun with another {', '.join(other)}")
        query = replace(
            query,
            after=file.last_id,
            since=file.request["since"],  # '7d' meant seven days before the export began
            until=file.request["until"],
        )
        limit = options.limit and options.limit - file.counts.completions
        try:
            for batch in batches(store, query, options.format, _selection(options), limit):
                file.write(batch)
                if batch.last_id is not None:
                    progress.show(file.counts, batch.last_id)
        except StoreError as error:
            raise ExportError(f"{error} (--resume goes on from here)") from error
        except KeyboardInterrupt:
            raise ExportError("interrupted (--resume goes on from here)") from None
        file.finish()
        return file.counts


def _summary(counts: ExportCounts, output: str) -> str:
    to = "" if output == _STANDARD_OUTPUT else f" to {output}"
    text = f"{_many(counts.lines, 'line')}{to}, from {_many(counts.completions, 'completion')}"
    if counts.left_out:
        reasons = ", ".join(f"{n} {reason}" for reason, n in counts.left_out.most_common())
        text = f"{text}; left out: {reasons}"
    return f"{text}; skipped {damaged_ones(counts.damaged)}" if counts.damaged else text


def _many(n: int, thing: str) -> str:
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"
