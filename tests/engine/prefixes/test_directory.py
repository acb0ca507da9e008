"""A directory of prefixes: its files, which are replaced, deleted and left alone."""

from __future__ import annotations

import errno
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.engine.prefixes.digests import tenant_path
from shared.engine.prefixes.store import BlockStoreError
from shared.storage.prefixes.directory import DirectoryStore
from tests.engine.prefixes.stores import files, store_of


def write(store: DirectoryStore, name: str, data: bytes = b"1234") -> bool:
    return store.write(name, [memoryview(data)], lambda: False)


def test_half_written_files_have_no_name(tmp_path: Path) -> None:
    store = store_of(tmp_path)

    assert not store.write("a/b", [memoryview(b"1"), memoryview(b"2")], lambda: True)
    assert files(tmp_path) == []
    assert write(store, "a/b")
    assert not write(store, "a/b", b"other")
    assert (tmp_path / "a/b").read_bytes() == b"1234"
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


def test_a_file_that_is_too_old_is_replaced(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    write(store, "a/b", b"first")
    os.utime(tmp_path / "a/b", (1, 1))

    assert write(store, "a/b", b"second")
    assert (tmp_path / "a/b").read_bytes() == b"second"


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(path: Path, *_: object) -> bool:
        path.write_bytes(b"as much as there was room for")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("shared.storage.prefixes.directory._write", fill)

    with pytest.raises(BlockStoreError, match="No space left"):
        write(store_of(tmp_path), "a/b")
    assert files(tmp_path) == []


def test_a_directory_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = store_of(tmp_path / "file")

    with pytest.raises(BlockStoreError, match="Not a directory"):
        write(store, "a/b")
    with pytest.raises(BlockStoreError, match="Not a directory"):
        store.read("a/b", 0, memoryview(bytearray(3)), 0)


def test_writers_of_the_same_file_do_no_harm(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    start = threading.Barrier(8)

    def work(i: int) -> bool:
        start.wait()
        return write(store, "a/b", bytes([i]) * 100_000)

    with ThreadPoolExecutor(8) as threads:
        assert any(threads.map(work, range(8)))

    assert [path.name for path in files(tmp_path)] == ["b"]
    assert len(set((tmp_path / "a/b").read_bytes())) == 1


def test_the_oldest_files_make_room(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    names = [block_path("a", n) for n in range(3)]
    for age, name in enumerate(names):
        write(store, name)
        at = time.time() - 100 * age
        os.utime(tmp_path / name, (at, at))

    store_of(tmp_path, budget=10).clean()

    assert files(tmp_path) == [tmp_path / name for name in names[:2]]


def test_old_and_unfinished_files_are_deleted(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    new, old = block_path("a", 1), block_path("a", 2)
    unfinished, underway = (Path(new).with_name(f".part-{n}") for n in (1, 2))
    for name in (new, old, str(unfinished)):
        write(store, name)
    for name in (old, str(unfinished)):
        os.utime(tmp_path / name, (1, 1))
    (tmp_path / underway).write_bytes(b"somebody is writing this")

    store.clean()

    assert files(tmp_path) == [tmp_path / underway, tmp_path / new]


def test_the_first_write_cleans(tmp_path: Path) -> None:
    old, new = block_path("a", 1), block_path("a", 2)
    write(store_of(tmp_path), old)
    os.utime(tmp_path / old, (1, 1))

    write(store_of(tmp_path), new)

    assert files(tmp_path) == [tmp_path / new]


def test_other_files_of_the_directory_stay(tmp_path: Path) -> None:
    own = [tmp_path / name for name in ("thesis.txt", "photos/2019/cat.jpg", "a/.part-1")]
    own.append((tmp_path / block_path("a", 1)).with_name("notes"))
    for path in own:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not ours")
        os.utime(path, (1, 1))

    store_of(tmp_path, budget=1).clean()

    assert list(store_of(tmp_path).files()) == []
    assert files(tmp_path) == sorted(own)


def block_path(tenant: str, n: int) -> str:
    """Where a block of a tenant is."""
    return f"{tenant_path(tenant)}/{0:016x}/{n:064x}"
