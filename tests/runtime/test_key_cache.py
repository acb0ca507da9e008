"""Cache of API keys: how long an answer holds, and how often the store is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shared.accounts.api_keys import Holder
from shared.accounts.key_format import hash_of, new_key
from shared.accounts.types import ApiKey, Project
from shared.runtime import key_cache
from shared.runtime.key_cache import KeyCache
from shared.storage.base import StoreError

KEY = new_key()


class Store:
    """A store of keys, and what it was asked."""

    def __init__(self) -> None:
        self.holders: dict[str, Holder] = {}
        self.asked: list[str] = []
        self.fails = False
        self.gate: asyncio.Event | None = None

    async def look_up(self, key_hash: str) -> Holder | None:
        """Whose a key is."""
        self.asked.append(key_hash)
        if self.gate is not None:
            await self.gate.wait()
        if self.fails:
            raise StoreError("down")
        return self.holders.get(key_hash)

    def add(self, key: str, *, expires_at: int | None = None, is_admin: bool = False) -> None:
        """Have a key."""
        project = None if is_admin else Project(id="proj_1", name="shop", created_at=0)
        key_hash = hash_of(key.encode())
        self.holders[key_hash] = Holder(
            key=ApiKey(
                id="key_1",
                name="first",
                hash=key_hash,
                redacted="",
                created_at=0,
                expires_at=expires_at,
            ),
            project=project,
        )


class Times:
    """Both clocks."""

    monotonic = 1000.0
    now = 1_800_000_000.0


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def times() -> Times:
    return Times()


@pytest.fixture
def cache(store: Store, times: Times) -> KeyCache:
    return KeyCache(store.look_up, monotonic=lambda: times.monotonic, clock=lambda: times.now)


def _run(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await work()

    asyncio.run(main())


def test_the_store_is_asked_once_in_30_seconds(cache: KeyCache, store: Store, times: Times) -> None:
    store.add(KEY)

    async def work() -> None:
        for _ in range(3):
            caller = await cache.caller(KEY.encode())
            assert caller is not None
            assert (caller.tenant, caller.key_id, caller.is_admin) == ("proj_1", "key_1", False)
        assert len(store.asked) == 1
        times.monotonic += 29.9
        assert await cache.caller(KEY.encode()) is not None
        assert len(store.asked) == 1
        store.holders.clear()  # it is revoked
        times.monotonic += 0.1
        assert await cache.caller(KEY.encode()) is None
        assert len(store.asked) == 2

    _run(work)


def test_time_in_which_the_process_was_frozen_counts(
    cache: KeyCache, store: Store, times: Times
) -> None:
    store.add(KEY)

    async def work() -> None:
        assert await cache.caller(KEY.encode()) is not None
        store.holders.clear()
        times.now += 3600  # and the monotonic clock stood still
        assert await cache.caller(KEY.encode()) is None

    _run(work)


def test_keys_that_are_nobodys_are_remembered_too(
    cache: KeyCache, store: Store, times: Times
) -> None:
    async def work() -> None:
        assert await cache.caller(KEY.encode()) is None
        store.add(KEY)
        assert await cache.caller(KEY.encode()) is None
        times.monotonic += 30
        assert await cache.caller(KEY.encode()) is not None
        assert len(store.asked) == 2

    _run(work)


def test_what_is_no_key_costs_nothing(cache: KeyCache, store: Store) -> None:
    async def work() -> None:
        for key in (b"", b"sk-nonsense", KEY[:-1].encode(), b"\xff" * 100):
            assert await cache.caller(key) is None
        assert store.asked == []

    _run(work)


def test_a_key_expires_while_it_is_remembered(cache: KeyCache, store: Store, times: Times) -> None:
    store.add(KEY, expires_at=int(times.now) + 5)

    async def work() -> None:
        assert await cache.caller(KEY.encode()) is not None
        times.now += 5
        assert await cache.caller(KEY.encode()) is None

    _run(work)


def test_requests_at_once_ask_once_and_one_may_leave(cache: KeyCache, store: Store) -> None:
    store.add(KEY)

    async def work() -> None:
        store.gate = asyncio.Event()
        first, *others = [asyncio.create_task(cache.caller(KEY.encode())) for _ in range(5)]
        await asyncio.sleep(0)
        first.cancel()
        store.gate.set()
        assert all([await other for other in others])
        with pytest.raises(asyncio.CancelledError):
            await first
        assert len(store.asked) == 1

    _run(work)


def test_a_store_that_fails_is_asked_again(cache: KeyCache, store: Store) -> None:
    store.add(KEY)
    store.fails = True

    async def work() -> None:
        for _ in range(2):
            with pytest.raises(StoreError):
                await cache.caller(KEY.encode())
        store.fails = False
        assert await cache.caller(KEY.encode()) is not None

    _run(work)


def test_a_question_on_a_loop_that_has_ended_is_asked_anew(cache: KeyCache, store: Store) -> None:
    store.add(KEY)

    async def leave() -> None:
        store.gate = asyncio.Event()
        task = asyncio.create_task(cache.caller(KEY.encode()))
        await asyncio.sleep(0)
        task.cancel()

    _run(leave)
    store.gate = None

    async def work() -> None:
        assert await cache.caller(KEY.encode()) is not None

    _run(work)


def test_only_so_many_keys_are_remembered(
    cache: KeyCache, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_cache, "_MAX_KEYS", 3)
    keys = [new_key() for _ in range(4)]

    async def work() -> None:
        for key in (*keys, keys[3], keys[0]):
            await cache.caller(key.encode())
        assert store.asked == [hash_of(key.encode()) for key in (*keys, keys[0])]

    _run(work)


def test_an_admins_key_has_no_project(cache: KeyCache, store: Store) -> None:
    store.add(KEY, is_admin=True)

    async def work() -> None:
        caller = await cache.caller(KEY.encode())
        assert caller is not None
        assert caller.is_admin

    _run(work)
