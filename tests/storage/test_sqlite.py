"""The file that completions are in."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.storage.base import StoreError
from shared.storage.sqlite.store import SQLiteStore
from shared.storage.types import CompletionQuery
from tests.storage.completions import sample, sample_id
from tests.storage.listing import listed, listed_ids, pages_of_ids
from tests.storage.sqlite_files import TENANT, fill, run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "completions.sqlite3"


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """The connections that stores open from now on."""
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def record(*arguments: object, **keywords: object) -> sqlite3.Connection:
        opened.append(connect(*arguments, **keywords))  # type: ignore[call-overload]
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", record)
    return opened


def test_nothing_is_created_before_first_use(path: Path) -> None:
    store = SQLiteStore(path)
    store.close()

    assert not path.parent.exists()


def test_a_store_is_there_when_it_was_created(path: Path) -> None:
    store = SQLiteStore(path)
    with pytest.raises(StoreError, match=rf"there is no store at {path}"):
        store.check_is_there()

    store.initialize()

    store.check_is_there()
    store.close()


def test_tenants_are_those_that_have_something(path: Path) -> None:
    clock = [1000.0]
    store = SQLiteStore(path, now=lambda: clock[0])
    store.initialize()
    assert store.tenants(9) == []
    for number, tenant in enumerate(["b", "a", "c", "b", "d", "d"]):
        store.put(sample(number, tenant=tenant, expires_at=2000 if number in (2, 4) else None))

    clock[0] = 3000.0

    assert store.tenants(9) == ["a", "b", "d"]
    assert store.tenants(2) == ["a", "b"]
    store.close()


def test_directory_and_files_are_their_owners_only(path: Path) -> None:
    store = SQLiteStore(path)

    store.put(sample(tenant=TENANT))

    files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert files == {path.name: 0o600, f"{path.name}-wal": 0o600, f"{path.name}-shm": 0o600}
    store.close()


def test_modes_that_somebody_chose_stay(path: Path) -> None:
    path.parent.mkdir(mode=0o755)
    fill(path)
    path.chmod(0o640)

    fill(path)

    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_closing_leaves_one_file_with_everything(path: Path) -> None:
    fill(path, 3)

    assert [file.name for file in path.parent.iterdir()] == [path.name]
    store = SQLiteStore(path)
    assert listed(store, TENANT) == [
        sample(number, tenant=TENANT, metadata={"run": "7"}) for number in range(3)
    ]
    store.close()


def test_a_path_may_start_at_home_or_where_the_process_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    at_home, relative = SQLiteStore(Path("~/home.sqlite3")), SQLiteStore(Path("here.sqlite3"))
    monkeypatch.chdir(tmp_path / "elsewhere")

    for store in (at_home, relative):
        store.initialize()
        store.close()

    assert (tmp_path / "home.sqlite3").exists()
    assert (tmp_path / "here.sqlite3").exists()


def test_commits_are_on_disk_when_they_end(
    path: Path, connections: list[sqlite3.Connection]
) -> None:
    store = SQLiteStore(path)
    store.initialize()

    (connection,) = connections
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    store.close()


def test_threads_that_open_a_new_file_at_once_create_it_once(tmp_path: Path) -> None:
    n = 6
    for attempt in range(10):
        stores = [SQLiteStore(tmp_path / f"{attempt}.sqlite3") for _ in range(n)]
        barrier = threading.Barrier(n)

        def put(number: int, stores: list[SQLiteStore], barrier: threading.Barrier) -> None:
            barrier.wait()
            stores[number].put(sample(number, tenant=TENANT))

        with ThreadPoolExecutor(n) as pool:
            for future in [pool.submit(put, number, stores, barrier) for number in range(n)]:
                future.result()

        assert len(listed(stores[0], TENANT)) == n
        for store in stores:
            store.close()


def test_idle_connections_are_used_again(path: Path, connections: list[sqlite3.Connection]) -> None:
    store = SQLiteStore(path)

    for number in range(5):
        store.put(sample(number, tenant=TENANT))
        listed(store, TENANT)
    with ThreadPoolExecutor(1) as pool:  # another thread
        pool.submit(listed, store, TENANT).result()

    assert len(connections) == 1
    store.close()


def test_a_closed_store_says_so(path: Path) -> None:
    store = SQLiteStore(path)
    store.initialize()
    store.close()
    store.close()

    with pytest.raises(StoreError, match=r"completions\.sqlite3: the store is closed"):
        listed(store, TENANT)


def test_a_writer_waits_for_other_processes_a_while(path: Path) -> None:
    fill(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store = SQLiteStore(path, timeout=0.01)

    with pytest.raises(StoreError, match=r"completions\.sqlite3: database is locked"):
        store.put(sample(1, tenant=TENANT))
    assert len(listed(store, TENANT)) == 1  # readers wait for nobody

    other.execute("COMMIT")
    store.put(sample(1, tenant=TENANT))
    assert len(listed(store, TENANT)) == 2
    other.close()
    store.close()


def test_stores_on_one_file_change_completions_at_once(path: Path) -> None:
    fill(path, 1)
    stores = [SQLiteStore(path), SQLiteStore(path)]

    def update(store: SQLiteStore) -> None:
        for number in range(50):
            changed = store.update_metadata(TENANT, "chat", sample_id(0), {"run": str(number)})
            assert changed is not None

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(update, stores))

    assert listed_ids(stores[0], TENANT, metadata={"run": "49"}) == [sample_id(0)]
    for store in stores:
        store.close()


def test_a_put_without_space_keeps_nothing_and_harms_nothing(
    path: Path, connections: list[sqlite3.Connection]
) -> None:
    store = SQLiteStore(path)
    store.put(sample(0, tenant=TENANT, metadata={"run": "7"}))
    big = sample(1, tenant=TENANT, metadata={"run": "7"}, user=os.urandom(50_000).hex())
    connections[0].execute("PRAGMA max_page_count = 15")

    with pytest.raises(StoreError, match=r"completions\.sqlite3: database or disk is full"):
        store.put(big)

    assert listed_ids(store, TENANT, metadata={"run": "7"}) == [sample(0, tenant=TENANT).id]
    store.put(big)  # on a new connection, which knows of no limit
    assert store.get(TENANT, "chat", big.id) == big
    store.close()


def test_what_is_deleted_leaves_no_trace_in_the_file(path: Path) -> None:
    secret = "the-secret-of-the-lamp"
    store = SQLiteStore(path)
    completion = sample(tenant=TENANT, metadata={"note": secret})
    store.put(completion)
    store.put(sample(1, tenant=TENANT))
    store.close()
    assert secret.encode() in path.read_bytes()

    store = SQLiteStore(path)
    store.delete(TENANT, "chat", completion.id)
    store.close()

    assert secret.encode() not in path.read_bytes()


def test_completions_expire_by_the_clock(path: Path) -> None:
    clock = [1000.0]
    store = SQLiteStore(path, now=lambda: clock[0])
    completion = sample(tenant=TENANT, metadata={"run": "7"}, expires_at=2000)
    store.put(completion)

    clock[0] = 1999.9
    assert store.get(TENANT, "chat", completion.id) == completion
    assert listed(store, TENANT, metadata={"run": "7"}) == [completion]

    clock[0] = 2000.0
    assert store.get(TENANT, "chat", completion.id) is None
    assert listed(store, TENANT, metadata={"run": "7"}) == []
    store.close()


def test_pages_are_full_though_expired_completions_are_still_there(path: Path) -> None:
    clock = [1000.0]
    store = SQLiteStore(path, now=lambda: clock[0])
    for number in range(12):
        expires_at = None if number in (2, 5, 6) else 2000
        store.put(sample(number, tenant=TENANT, metadata={"run": "7"}, expires_at=expires_at))
    clock[0] = 3000.0

    query = CompletionQuery(tenant=TENANT, kind="chat", limit=2, metadata={"run": "7"})
    pages = pages_of_ids(store, query)

    assert pages == [[sample_id(2), sample_id(5)], [sample_id(6)]]
    store.close()


def test_puts_clear_expired_completions_away(path: Path) -> None:
    clock = [1000.0]
    store = SQLiteStore(path, now=lambda: clock[0])
    for number in range(50):
        expires_at = 2000 + number if number % 2 else None
        store.put(sample(number, tenant=TENANT, metadata={"run": "7"}, expires_at=expires_at))
    clock[0] = 3000.0

    for number in range(50, 53):
        store.put(sample(number, tenant="another", kind="text"))

    store.close()
    assert run(path, "SELECT count(*) FROM completions") == [(25 + 3,)]
    assert run(path, "SELECT count(*) FROM pairs") == [(25,)]


def test_a_sweep_clears_all_that_has_expired(path: Path) -> None:
    store = SQLiteStore(path)
    kept = sample(100, tenant=TENANT)
    store.put(kept)
    expiry = int(time.time()) + 1000
    for number in range(25):
        store.put(sample(number, tenant=TENANT, expires_at=expiry))
    later = SQLiteStore(path, now=lambda: expiry + 1)

    assert store.sweep() == 0
    assert later.sweep() == 25
    assert later.sweep() == 0
    assert listed(store, TENANT) == [kept]
    store.close()
    later.close()
