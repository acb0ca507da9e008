"""Listing and deletion of stored prefixes, by whose they are, by model, and by age.

A file's path says whose it is (a hash of the tenant), and of which model and settings (a hash,
too); what the prompt was, only the file does. Whatever else lies in a directory or bucket is not
looked at, and never deleted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.engine.prefixes.digests import tenant_path
from shared.engine.prefixes.store import BlockStore

FOLDER = re.compile(r"[0-9a-f]{32}/[0-9a-f]{16}")
"""Of blocks: whose they are, and of which model."""
PATH = re.compile(rf"{FOLDER.pattern}/[0-9a-f]{{64}}")
"""Of a block, as `shared.engine.prefixes.keys.KeySpace.path` makes them."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A block in a store: bytes, and when it was written, in seconds since 1970."""

    path: str
    size: int
    modified: float

    @property
    def tenant(self) -> str:
        """The hash of whose it is."""
        return self.path.split("/")[0]

    @property
    def model(self) -> str:
        """The hash of the model and all settings that it depends on."""
        return self.path.split("/")[1]


@dataclass(frozen=True, slots=True)
class PrefixFilter:
    """Which blocks: those of a tenant's name, of a model's hash, written in a time."""

    tenant: str | None = None
    model: str | None = None
    since: float | None = None
    until: float | None = None

    def matches(self, file: StoredFile) -> bool:
        """Whether it is one of them."""
        return (
            (self.tenant is None or file.tenant == tenant_path(self.tenant))
            and (self.model is None or file.model == self.model)
            and (self.since is None or file.modified >= self.since)
            and (self.until is None or file.modified < self.until)
        )


class PrefixFiles(BlockStore, Protocol):
    """A store whose files can be listed and deleted. Both raise `BlockStoreError`."""

    def files(self, folder: str = "") -> Iterator[StoredFile]:
        """All blocks, or those in a tenant's ``folder``."""

    def delete(self, paths: Iterable[str]) -> None:
        """Delete files; those that are not there any more don't matter."""


@dataclass(slots=True)
class PrefixGroup:
    """The blocks that a tenant has of a model."""

    tenant: str
    model: str
    n_blocks: int = 0
    n_bytes: int = 0
    oldest: float = float("inf")
    newest: float = 0.0


def matching(store: PrefixFiles, wanted: PrefixFilter) -> Iterator[StoredFile]:
    """The files that a filter lets through; raises `BlockStoreError`."""
    folder = "" if wanted.tenant is None else tenant_path(wanted.tenant)
    return filter(wanted.matches, store.files(folder))


def groups(files: Iterable[StoredFile]) -> Sequence[PrefixGroup]:
    """What there is by tenant and model, the latest written first."""
    found: dict[tuple[str, str], PrefixGroup] = {}
    for file in files:
        key = (file.tenant, file.model)
        group = found.setdefault(key, PrefixGroup(*key))
        group.n_blocks += 1
        group.n_bytes += file.size
        group.oldest = min(group.oldest, file.modified)
        group.newest = max(group.newest, file.modified)
    return sorted(found.values(), key=lambda group: -group.newest)
