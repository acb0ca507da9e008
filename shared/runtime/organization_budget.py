"""The organization's spending, as one process knows it: read from the store twice a minute."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shared.accounts.limits import month_of
from shared.storage.base import StoreError

if TYPE_CHECKING:
    from shared.accounts.accounts import Accounts
    from shared.accounts.records import Record
    from shared.accounts.types import Clock

_MAX_AGE = 30.0
_SECONDS = 2.5
"""That a request waits at most for the sum that it makes for others."""

_log = logging.getLogger("pilotlight.accounts")


class OrganizationBudget:
    """What all projects together have spent in the month. Used on an event loop."""

    def __init__(self, in_accounts: Callable[..., Any], clock: Clock) -> None:
        """``in_accounts`` does work on a thread."""
        self._in_accounts = in_accounts
        self._clock = clock
        self._spent = 0
        self._month = ""
        self._read_at: float | None = None
        self._read: float = 0.0
        self._is_reading = False

    @property
    def known(self) -> int | None:
        """Nanodollars, None where it is to be read."""
        return self._spent if self._age() < _MAX_AGE else None

    async def spent(self) -> tuple[int, asyncio.Task[None] | None]:
        """Nanodollars, late by a minute and a half at most; raises `StoreError`.

        And the work on the next sum, where it falls to this request: before it ends it should wait
        for that with `wait`, since a function may be frozen then.
        """
        if self.known is not None or (self._is_reading and self._age() < 2 * _MAX_AGE):
            return self._spent, None
        self._is_reading = True
        read_at, read = self._clock(), time.monotonic()
        try:
            found = await self._in_accounts(lambda accounts: accounts.organization_spending.known())
        finally:
            self._is_reading = False
        self._note(found.spent, read_at, read)
        if found.claim is None:
            return found.spent, None
        return found.spent, asyncio.create_task(self._renew(found.claim))

    @staticmethod
    async def wait(renewal: asyncio.Task[None] | None) -> None:
        """Wait for a sum, but not for long; one that is cut off is made by somebody else."""
        if renewal is not None:
            await asyncio.wait([renewal], timeout=_SECONDS)

    async def _renew(self, claim: Record) -> None:
        """Make the next sum; raises nothing."""
        now, monotonic = self._clock(), time.monotonic()

        def renew(accounts: Accounts) -> int:
            return accounts.organization_spending.renew(claim)

        try:
            self._note(await self._in_accounts(renew), now, monotonic)
        except StoreError as error:
            _log.error("what all projects have spent is not summed up: %s", error)
        except Exception:
            _log.exception("what all projects have spent is not summed up")

    def _note(self, spent: int, now: float, monotonic: float) -> None:
        self._spent, self._month = spent, month_of(now)
        self._read_at, self._read = now, monotonic

    def _age(self) -> float:
        """Seconds, by whichever clock says more: one stands still while a function is frozen."""
        now = self._clock()
        if self._read_at is None or self._month != month_of(now):
            return float("inf")
        return max(time.monotonic() - self._read, now - self._read_at)
