"""Listing and deletion of stored prefixes: of a tenant, of a model, of a time; nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shared.engine.prefixes.digests import tenant_path
from shared.engine.prefixes.store import BlockStoreError
from shared.storage.prefixes.directory import DirectoryStore
from shared.storage.prefixes.files import PrefixFiles, PrefixFilter, groups, matching
from shared.storage.prefixes.s3 import S3Store
from tests.storage.prefixes.test_s3 import BUCKET, client, url
from tests.test_imports import imports_of

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

__all__ = ["client", "url"]  # fixtures

LAMP, TORCH = f"{1:016x}", f"{2:016x}"


def path(tenant: str, model: str, n: int) -> str:
    return f"{tenant_path(tenant)}/{model}/{n:064x}"


PATHS = [path("ann", LAMP, n) for n in range(3)]
PATHS += [path("ann", TORCH, 3), path("bob", LAMP, 4)]


def filled(store: PrefixFiles) -> None:
    for n, each in enumerate(PATHS):
        assert store.write(each, [memoryview(bytes(10 + n))], lambda: False)


@pytest.fixture(params=["directory", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PrefixFiles]:
    """A store with blocks, and with a file that is not ours."""
    if request.param == "directory":
        opened: PrefixFiles = DirectoryStore(tmp_path, budget=2**20, max_age=3600)
        (tmp_path / "thesis.txt").write_text("not ours")
    else:
        client: S3Client = request.getfixturevalue("client")
        client.put_object(Bucket=BUCKET, Key="below/thesis.txt", Body=b"not ours")
        client.put_object(Bucket=BUCKET, Key=f"elsewhere/{PATHS[0]}", Body=b"not ours")
        opened = S3Store(BUCKET, "below")
    filled(opened)
    yield opened
    opened.close()


def paths(store: PrefixFiles, wanted: PrefixFilter | None = None) -> list[str]:
    return sorted(file.path for file in matching(store, wanted or PrefixFilter()))


def test_all_are_listed_and_nothing_else(store: PrefixFiles) -> None:
    assert paths(store) == sorted(PATHS)
    assert sorted(file.size for file in store.files()) == [10, 11, 12, 13, 14]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (PrefixFilter(tenant="ann"), PATHS[:4]),
        (PrefixFilter(tenant="an"), []),
        (PrefixFilter(model=LAMP), [*PATHS[:3], PATHS[4]]),
        (PrefixFilter(tenant="bob", model=TORCH), []),
        (PrefixFilter(until=1e9), []),
        (PrefixFilter(since=1e9, until=1e11), PATHS),
    ],
)
def test_filters(store: PrefixFiles, wanted: PrefixFilter, expected: list[str]) -> None:
    assert paths(store, wanted) == sorted(expected)


def test_what_is_deleted_is_gone_and_the_rest_is_not(store: PrefixFiles) -> None:
    store.delete([*PATHS[:2], path("ann", LAMP, 77)])

    assert paths(store) == sorted(PATHS[2:])


def test_more_than_one_page(store: PrefixFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.storage.prefixes.s3._DELETED_AT_ONCE", 2)

    store.delete(PATHS)

    assert paths(store) == []


def test_groups_are_of_a_tenant_and_a_model(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path, budget=2**20, max_age=3600)
    filled(store)
    for n, each in enumerate(PATHS):
        os.utime(tmp_path / each, (1000 + n, 1000 + n))

    found = groups(store.files())

    assert [(group.tenant, group.model) for group in found] == [
        (tenant_path("bob"), LAMP),
        (tenant_path("ann"), TORCH),
        (tenant_path("ann"), LAMP),
    ]
    assert (found[2].n_blocks, found[2].n_bytes) == (3, 33)
    assert (found[2].oldest, found[2].newest) == (1000, 1002)


def test_a_bucket_that_is_not_there_is_named(client: S3Client) -> None:
    store = S3Store("another", "")
    calls: list[Callable[[], object]] = [
        lambda: list(store.files()),
        lambda: store.delete([PATHS[0]]),
    ]

    for call in calls:
        with pytest.raises(BlockStoreError, match=r"s3://another/: .*NoSuchBucket"):
            call()


def test_who_only_deletes_needs_no_engine() -> None:
    """Functions without a model have no llama.cpp, and archive projects."""
    needed = ["shared.runtime.prefix_deletion", "shared.storage.prefixes.directory"]
    needed += ["shared.storage.prefixes.s3", "shared.storage.prefixes.location"]
    seen: set[str] = set()
    while needed:
        module = needed.pop()
        if module in seen or module in ("shared.runtime.state", "shared.config.settings"):  # types
            continue
        seen.add(module)
        needed += imports_of(module)

    assert "shared.storage.prefixes.files" in seen
    assert not [name for name in seen if name.startswith("shared.engine.llama.")]
