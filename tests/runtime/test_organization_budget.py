"""How often a process reads what all projects have spent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from shared.accounts.organization import KnownSpending
from shared.accounts.records import Place, Record
from shared.runtime.organization_budget import OrganizationBudget
from shared.storage.base import StoreError


class _Spending:
    """A store that counts what it is asked."""

    now = 1_800_000_000.0
    spent = 5
    claim: Record | None = None
    n_read = 0
    fails = False

    def known(self) -> KnownSpending:
        self.n_read += 1
        if self.fails:
            raise StoreError("injected")
        return KnownSpending(self.spent, self.claim)

    def renew(self, _: Record) -> int:
        if self.fails:
            raise StoreError("injected")
        return 7


@pytest.fixture
def spending() -> _Spending:
    return _Spending()


def _budget(spending: _Spending) -> OrganizationBudget:
    async def in_accounts(work: Callable[[Any], Any]) -> Any:
        return work(SimpleNamespace(organization_spending=spending))

    return OrganizationBudget(in_accounts, lambda: spending.now)


def test_it_is_read_every_30_seconds(spending: _Spending) -> None:
    async def run() -> None:
        budget = _budget(spending)
        assert budget.known is None
        for _ in range(3):
            assert await budget.spent() == (5, None)
        spending.now += 29
        assert budget.known == 5
        assert await budget.spent() == (5, None)
        assert spending.n_read == 1
        spending.now += 1
        spending.spent = 6
        assert budget.known is None
        assert await budget.spent() == (6, None)
        spending.now -= 60  # a clock that was set back
        assert await budget.spent() == (6, None)

    asyncio.run(run())


def test_whose_turn_it_is_sums_up(spending: _Spending) -> None:
    async def run() -> None:
        budget = _budget(spending)
        spending.claim = Record(Place("organization", "spending"), {})
        spent, renewal = await budget.spent()
        assert spent == 5
        assert renewal is not None
        await budget.wait(renewal)
        assert budget.known == 7
        await budget.wait(None)

    asyncio.run(run())


def test_a_month_begins_with_a_read(spending: _Spending) -> None:
    async def run() -> None:
        budget = _budget(spending)
        await budget.spent()
        spending.now += 31 * 86400
        assert budget.known is None

    asyncio.run(run())


def test_a_store_that_fails_is_said_and_asked_again(spending: _Spending) -> None:
    async def run() -> None:
        budget = _budget(spending)
        spending.fails = True
        for _ in range(2):
            with pytest.raises(StoreError):
                await budget.spent()
        assert spending.n_read == 2
        spending.fails = False
        spending.claim = Record(Place("organization", "spending"), {})
        _, renewal = await budget.spent()
        spending.fails = True
        await budget.wait(renewal)
        assert budget.known == 5

    asyncio.run(run())
