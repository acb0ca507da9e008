"""``pilotlight prefixes``: what the prefix cache has stored, in the terminal."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

import orjson

from functions.cli.confirmation import confirmed
from functions.cli.interruption import INTERRUPTED, interruptible
from functions.cli.table import print_rows, safe, shown_time
from functions.cli.usage_error import UsageError
from shared.config.settings import Settings
from shared.engine.prefixes.digests import tenant_path
from shared.engine.prefixes.keys import BLOCK
from shared.engine.prefixes.prompt import COMMON
from shared.engine.prefixes.store import BlockStoreError
from shared.storage.prefixes.files import (
    PrefixFiles,
    PrefixFilter,
    PrefixGroup,
    StoredFile,
    groups,
    matching,
)
from shared.storage.prefixes.location import open_prefix_store
from shared.storage.types import DEFAULT_TENANT

_EVERYBODY = "everybody"
_NAMES = {tenant_path(COMMON[0]): _EVERYBODY, tenant_path(DEFAULT_TENANT): DEFAULT_TENANT}
"""Of tenants that every deployment has."""


class CommandError(Exception):
    """What can't be done, for people."""


def prefixes(settings: Settings, options: argparse.Namespace) -> int:
    """Run ``list`` or ``delete``; returns the exit status."""
    action = {"list": _list, "delete": _delete}[options.action]
    try:
        with interruptible():
            store = _opened(settings)
            try:
                action(store, _filter(options), options)
            finally:
                store.close()
    except (CommandError, BlockStoreError) as error:
        print(f"pilotlight: {safe(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _list(store: PrefixFiles, wanted: PrefixFilter, options: argparse.Namespace) -> None:
    found = groups(matching(store, wanted))
    if options.json:
        for group in found:
            line = orjson.dumps(_object(group, wanted), option=orjson.OPT_APPEND_NEWLINE)
            sys.stdout.buffer.write(line)
        return
    if not found:
        print("no stored prefixes", file=sys.stderr)
        return
    print_rows(
        ("tenant", "model", "first (UTC)", "last (UTC)", "tokens", "MiB"),
        [
            (
                _name(group, wanted),
                group.model,
                shown_time(int(group.oldest)),
                shown_time(int(group.newest)),
                f"{group.n_blocks * BLOCK:,}",
                f"{group.n_bytes / 2**20:,.1f}",
            )
            for group in found
        ],
        numbers=2,
    )


def _delete(store: PrefixFiles, wanted: PrefixFilter, options: argparse.Namespace) -> None:
    if options.all == (wanted != PrefixFilter()):
        raise UsageError("say which with --tenant, --model, --since and --until, or say --all")
    found: list[StoredFile] = list(matching(store, wanted))
    if not found:
        print("no stored prefixes", file=sys.stderr)
        return
    size = sum(file.size for file in found) / 2**20
    which = f"{len(found) * BLOCK:,} tokens of stored prefixes ({size:,.1f} MiB)"
    if not options.yes and not confirmed(f"Delete {which} for good? [y/N] "):
        raise CommandError("nothing was deleted")
    store.delete(file.path for file in found)
    print(f"deleted {which}")


def _filter(options: argparse.Namespace) -> PrefixFilter:
    return PrefixFilter(
        tenant=COMMON[0] if options.tenant == _EVERYBODY else options.tenant,
        model=options.of_model,
        since=options.since and options.since.seconds,
        until=options.until and options.until.seconds,
    )


def _name(group: PrefixGroup, wanted: PrefixFilter) -> str:
    """The tenant's name where it is known: files have its hash only."""
    known = _NAMES.get(group.tenant)
    return known or (group.tenant if wanted.tenant is None else wanted.tenant)


def _object(group: PrefixGroup, wanted: PrefixFilter) -> dict[str, object]:
    return {
        "tenant": _name(group, wanted),
        "model": group.model,
        "first": _iso(group.oldest),
        "last": _iso(group.newest),
        "tokens": group.n_blocks * BLOCK,
        "bytes": group.n_bytes,
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()


def _opened(settings: Settings) -> PrefixFiles:
    location = settings.prefix_store
    if not location:
        raise UsageError("there is no store of prefixes: name it with --prefix-store")
    max_age = settings.prefix_store_hours * 3600
    return open_prefix_store(location, budget=settings.prefix_store_size, max_age=max_age)
