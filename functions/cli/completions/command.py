"""``pilotlight completions``: what is stored, in the terminal. ``pilotlight store``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from functions.cli.completions.export import export
from functions.cli.completions.source import (
    ServerSource,
    Source,
    SourceError,
    StoreSource,
    damaged_ones,
    kind_of,
)
from functions.cli.completions.view import print_details, print_table
from functions.cli.confirmation import confirmed
from functions.cli.interruption import INTERRUPTED, interruptible
from functions.cli.usage_error import UsageError
from shared.config.configuration import flag
from shared.config.settings import Settings
from shared.storage.base import CompletionStore, StoreError
from shared.storage.export.file import ExportError
from shared.storage.location import data_directory, open_store
from shared.storage.sqlite.store import SQLiteStore
from shared.storage.types import DEFAULT_TENANT, CompletionQuery


class CommandError(Exception):
    """What can't be done, for people."""


def completions(settings: Settings, options: argparse.Namespace) -> int:
    """Run ``list``, ``show``, ``delete`` or ``export``; returns the exit status."""
    actions: dict[str, Callable[[Settings, argparse.Namespace], int]] = {
        "list": _list,
        "show": _show,
        "delete": _delete,
        "export": _export,
    }
    return _run(lambda: actions[options.action](settings, options))


def store(settings: Settings, options: argparse.Namespace) -> int:
    """Run the action that ``options`` name; returns the exit status."""
    actions = {"init": _initialize, "sweep": _sweep}
    return _run(lambda: actions[options.action](settings))


def _run(action: Callable[[], int]) -> int:
    """What ``action`` returns; errors in words."""
    try:
        with interruptible():
            return action()
    except (CommandError, SourceError, StoreError, ExportError) as error:
        print(f"pilotlight: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _list(settings: Settings, options: argparse.Namespace) -> int:
    query = CompletionQuery(
        tenant=options.tenant or DEFAULT_TENANT,
        kind=options.kind,
        limit=options.limit,
        order=options.order,
        model=options.of_model,
        metadata=metadata_of(options),
        since=options.since and options.since.seconds,
        until=options.until and options.until.seconds,
    )
    with _source(settings, options) as source:
        if options.json:
            for entry in source.entries(query):
                _print_json(entry.completion)
            _tell_damaged(source)
            return 0
        entries = list(source.entries(query))
        _tell_damaged(source)
        if not entries:
            # Who has keys stores nothing as the default tenant, and may wonder.
            print(f"no stored completions of {source.owner}{source.advice()}", file=sys.stderr)
            return 0
        print_table(entries, has_text=options.text)
    return 0


def _show(settings: Settings, options: argparse.Namespace) -> int:
    with _source(settings, options) as source:
        entry = source.entry(kind_of(options.id), options.id)
        if entry is None:
            raise CommandError(_not_found(source, options.id))
        if options.json:
            _print_json(entry.whole(), orjson.OPT_INDENT_2)
        else:
            print_details(entry)
    return 0


def _delete(settings: Settings, options: argparse.Namespace) -> int:
    ids = list(dict.fromkeys(options.ids))
    missing: list[str] = []
    with _source(settings, options) as source:
        if not options.yes:
            missing = [id_ for id_ in ids if not source.has(kind_of(id_), id_)]
            _tell_missing(source, missing)
            ids = [id_ for id_ in ids if id_ not in missing]
            which = f"{len(ids)} stored completion{'s' if len(ids) > 1 else ''}"
            if source.damaged:
                which += f" ({damaged_ones(source.damaged)})"
            if ids and not confirmed(f"Delete {which} for good? [y/N] "):
                raise CommandError("nothing was deleted")
        for completion_id in ids:
            if source.delete(kind_of(completion_id), completion_id):
                print(f"deleted {completion_id}")
            else:
                missing.append(completion_id)
                _tell_missing(source, [completion_id])
    return 1 if missing else 0


def _tell_damaged(source: Source) -> None:
    if source.damaged:
        print(f"pilotlight: skipped {damaged_ones(source.damaged)}", file=sys.stderr)


def _tell_missing(source: Source, ids: Iterable[str]) -> None:
    for completion_id in ids:
        print(f"pilotlight: {_not_found(source, completion_id)}", file=sys.stderr)


def _not_found(source: Source, completion_id: str) -> str:
    return f"no stored completion '{completion_id}' of {source.owner} was found{source.advice()}"


def _export(settings: Settings, options: argparse.Namespace) -> int:
    with _existing(settings) as opened:
        return export(opened, settings, options, metadata_of(options))


def _initialize(settings: Settings) -> int:
    with _opened(settings) as opened:
        opened.initialize()
    scheme, _, rest = settings.store.partition(":")
    if scheme == "dynamodb":
        table_name, bucket = rest.split(",")
        print(f"The store is ready: table {table_name} in DynamoDB, bucket {bucket} in S3.")
    else:
        print(f"The store is ready: SQLite, {rest or f'in {data_directory(settings.data_dir)}'}.")
    return 0


def _sweep(settings: Settings) -> int:
    with _existing(settings) as opened:
        count = opened.sweep()
    print(f"Cleared away: {count} completion{'' if count == 1 else 's'}.")
    return 0


def metadata_of(options: argparse.Namespace) -> dict[str, str]:
    """The pairs of ``--metadata``."""
    pairs = dict(options.metadata)
    if len(pairs) < len(set(options.metadata)):
        raise UsageError("--metadata has one key with two values, which nothing can match")
    return pairs


@contextmanager
def _source(settings: Settings, options: argparse.Namespace) -> Iterator[Source]:
    if options.url is not None:
        if options.tenant is not None:
            raise UsageError("with --url it is the key that says whose completions are shown")
        if given := [flag(name) for name in ("store", "data_dir") if name in options]:
            raise UsageError(f"with --url it is the server that has the store: no {given[0]}")
        key = settings.api_key[0].get_secret_value() if settings.api_key else None
        yield ServerSource(options.url, key)
        return
    with _existing(settings) as opened:
        yield StoreSource(opened, options.tenant or DEFAULT_TENANT)


@contextmanager
def _existing(settings: Settings) -> Iterator[CompletionStore]:
    """The store, which a misspelt path does not create."""
    with _opened(settings) as opened:
        if isinstance(opened, SQLiteStore):  # DynamoDB's tables are created by `initialize` only
            opened.check_is_there()
        yield opened


@contextmanager
def _opened(settings: Settings) -> Iterator[CompletionStore]:
    opened = open_store(settings.store, settings.data_dir)
    if opened is None:
        raise UsageError("there is no store: the setting 'store' is 'none'")
    try:
        yield opened
    finally:
        opened.close()


def _print_json(value: Any, option: int = 0) -> None:
    sys.stdout.buffer.write(orjson.dumps(value, option=option | orjson.OPT_APPEND_NEWLINE))
