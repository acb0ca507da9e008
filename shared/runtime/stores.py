"""Stores of a server, of completions and of accounts: opened at first use, called on threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, TypeVar

from shared.protocol.errors import APIError
from shared.storage.base import WouldBlockError

if TYPE_CHECKING:
    from shared.accounts.accounts import Accounts
    from shared.accounts.api_keys import ApiKeys
    from shared.accounts.ledger.ledger import Ledger
    from shared.config.settings import Settings
    from shared.storage.base import CompletionStore

ResultT = TypeVar("ResultT")

_THREADS = {"store": 32, "accounts": 32, "keys": 8}
"""Calls at once to each; a call waits for a disk or a network. Who writes a lot, to a partition
that is throttled, shall not hold up the look-up of others' keys."""


class Stores:
    """The stores that the settings name; after `close` they are opened anew when needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._completions: CompletionStore | None = None
        self._accounts: Accounts | None = None
        self._lock = threading.Lock()
        self._threads: dict[str, ThreadPoolExecutor] = {}

    async def in_store(self, work: Callable[[CompletionStore], ResultT]) -> ResultT:
        """What ``work`` does with the store of completions, on a thread; raises `StoreError`.

        Raises `APIError` 404 where the deployment has no store.
        """
        return await self._on_thread("store", lambda: work(self._opened_completions()))

    async def in_accounts(self, work: Callable[[Accounts], ResultT]) -> ResultT:
        """What ``work`` does with the accounts, on a thread; raises `StoreError`.

        Only where the setting ``accounts`` is on.
        """
        return await self._on_thread("accounts", lambda: work(self._opened_accounts()))

    async def in_keys(self, work: Callable[[ApiKeys], ResultT]) -> ResultT:
        """What ``work`` does with the keys of accounts; likewise, on threads of their own."""
        return await self._on_thread("keys", lambda: work(self._opened_accounts().keys))

    async def in_ledger(self, work: Callable[[Ledger, bool], ResultT]) -> ResultT:
        """What ``work`` does with the ledger; raises `StoreError`.

        Called here with False, that it may not block, and on a thread with True if it would. It
        ends even where the caller is cancelled.
        """
        if self._accounts is not None:
            try:
                return work(self._accounts.ledger, False)
            except WouldBlockError:
                pass
        return await asyncio.shield(self.in_accounts(lambda accounts: work(accounts.ledger, True)))

    @property
    def opened_accounts(self) -> Accounts | None:
        """The accounts, for what needs no call of the store; None before the first one."""
        return self._accounts

    async def _on_thread(self, name: str, work: Callable[[], ResultT]) -> ResultT:
        threads = self._threads.get(name)
        if threads is None:
            threads = self._threads[name] = ThreadPoolExecutor(_THREADS[name], name)
        loop = asyncio.get_running_loop()
        # With the request's context: what the store logs or asks of AWS belongs to the request.
        return await loop.run_in_executor(threads, copy_context().run, work)

    def _opened_completions(self) -> CompletionStore:
        """The store, opened at the first call; on a thread, since that takes a while."""
        from shared.storage.location import open_store

        with self._lock:
            if self._completions is None:
                self._completions = open_store(self._settings.store, self._settings.data_dir)
            if self._completions is None:
                raise APIError(404, "This deployment keeps no completions.", code="no_store")
            return self._completions

    def _opened_accounts(self) -> Accounts:
        """The accounts, opened at the first call; on a thread, since that takes a while."""
        from shared.accounts.accounts import open_accounts

        with self._lock:
            if self._accounts is None:
                self._accounts = open_accounts(self._settings.store, self._settings.data_dir)
            return self._accounts

    def warm_up(self) -> None:
        """Load what the stores' first calls need, without making one; raises `StoreError`."""
        if self._settings.store != "none":
            self._opened_completions().warm_up()
        if self._settings.accounts:
            self._opened_accounts().warm_up()

    def close(self) -> None:
        """Let go of the stores and their threads."""
        threads, self._threads = self._threads, {}
        for pool in threads.values():
            pool.shutdown()
        with self._lock:
            opened = (self._completions, self._accounts)
            self._completions = self._accounts = None
        for each in opened:
            if each is not None:
                each.close()
