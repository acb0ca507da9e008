"""A SQLite file outlives the processes that write to it, and serves several."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from shared.storage.sqlite.store import SQLiteStore
from shared.storage.types import CompletionQuery
from tests.storage.completions import sample, sample_id
from tests.storage.listing import pages_of_ids

pytestmark = pytest.mark.usefixtures("processes")

ROOT = Path(__file__).parents[2]
METADATA = {"run": "7"}


def start_writer(path: Path, tenant: str, first: int, count: int) -> subprocess.Popen[str]:
    """A process that stores samples and prints their numbers."""
    arguments = [str(path), tenant, str(first), str(count)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.storage.writer", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def all_ids(store: SQLiteStore, tenant: str) -> list[str]:
    """The ids of all samples that are found by their metadata."""
    query = CompletionQuery(tenant=tenant, kind="chat", limit=100, metadata=METADATA)
    return [i for page in pages_of_ids(store, query) for i in page]


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path: Path, seed: int) -> None:
    path, tenant = tmp_path / "completions.sqlite3", "default"
    killed_after = random.Random(seed).randrange(20, 600)

    with start_writer(path, tenant, 0, 1000) as writer:
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(killed_after)]
        writer.kill()
        acknowledged += [int(line) for line in writer.stdout]

    store = SQLiteStore(path)
    for number in acknowledged:
        kept = store.get(tenant, "chat", sample_id(number))
        assert kept == sample(number, tenant=tenant, metadata=METADATA)
    # At most the put that was on its way is there without having been acknowledged.
    found = all_ids(store, tenant)
    assert found == [sample_id(number) for number in range(len(found))]
    assert len(found) - len(acknowledged) in (0, 1)
    after = sample(len(found), tenant=tenant, metadata=METADATA)
    store.put(after)
    assert store.get(tenant, "chat", after.id) == after
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_processes_write_to_one_new_file_at_once(tmp_path: Path) -> None:
    path, tenant, n_each = tmp_path / "new" / "completions.sqlite3", "default", 100
    store = SQLiteStore(path)

    with (
        start_writer(path, tenant, 0, n_each) as first,
        start_writer(path, tenant, n_each, n_each) as second,
    ):
        seen: list[str] = []
        while first.poll() is None or second.poll() is None:
            found = all_ids(store, tenant)
            assert set(seen) <= set(found)
            seen = found
        outputs = [writer.communicate()[0] for writer in (first, second)]

    assert (first.returncode, second.returncode) == (0, 0)
    assert [int(number) for number in "".join(outputs).split()] == list(range(2 * n_each))
    assert all_ids(store, tenant) == [sample_id(number) for number in range(2 * n_each)]
    store.close()
