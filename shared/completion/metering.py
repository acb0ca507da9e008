"""Metering of completions: rate limits and budgets of the caller's project, and its usage.

What a request may use at most is reserved before its prompt is evaluated where that takes no
thread, else meanwhile; nothing is sent before that has succeeded. What it came to is settled before
its last bytes leave: a function that is frozen then does nothing afterwards.
"""

from __future__ import annotations

import logging
import secrets
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING

from shared.accounts.ledger.reservation import RefusedError, Reservation
from shared.accounts.ledger.usage import Group, Usage
from shared.accounts.limits import CENT, NANODOLLARS, RateLimits, TokenPrices
from shared.accounts.types import Organization
from shared.completion.limit_responses import limit_headers, limit_refusal
from shared.completion.organization_meter import OrganizationMeter
from shared.protocol.errors import APIError, accounts_unavailable
from shared.runtime.request_context import request_context
from shared.storage.base import StoreError, WouldBlockError

if TYPE_CHECKING:
    from shared.accounts.api_keys import Holder
    from shared.accounts.ledger.ledger import Ledger
    from shared.accounts.types import Project
    from shared.runtime.state import ServerState

_EXPIRY_SECONDS = 3600
"""After which the reservation of a process that died is taken back."""

_log = logging.getLogger("pilotlight.accounts")


class TokenCounts(ABC):
    """Tokens of one request: at most, and those that it has had so far."""

    @abstractmethod
    def most(self) -> tuple[int, int]:
        """Prompt and completion tokens that it can come to."""

    @abstractmethod
    def used(self) -> tuple[int, int, int]:
        """Prompt tokens, those among them that were cached, and completion tokens."""


class Meter:
    """Meter of one request of a project."""

    def __init__(
        self, state: ServerState, project: Project, counts: TokenCounts, group: Group
    ) -> None:
        self._state = state
        self._project = project
        self._organization: OrganizationMeter | None = None
        self._counts = counts
        self._group = group
        prices = state.settings.price(group.model)
        self._has_price = prices is not None
        self._prices = prices.tokens if prices is not None else TokenPrices()
        self._limits = project.rate_limits.get(group.model, RateLimits())
        self._budget = None if project.spend_limit is None else project.spend_limit * CENT
        self._asked = self._most()
        self._shard: int | None = None
        self._is_open = False
        self._is_forgiven = False
        self.headers: dict[str, str] = {}
        """What is left of the limits."""

    @classmethod
    def of(
        cls, state: ServerState, holder: Holder, counts: TokenCounts, group: Group
    ) -> Meter | None:
        """The meter of a request with a key of ``holder``; None if that has no project."""
        if holder.project is None:
            return None
        meter = cls(state, holder.project, counts, group)
        if holder.organization != Organization():
            meter._organization = OrganizationMeter(state, holder.organization)
        return meter

    @property
    def cost(self) -> float | None:
        """Dollars that `settle` counts, or has counted; None where the model has no price."""
        return self._used().cost / NANODOLLARS if self._has_price else None

    def check(self) -> None:
        """Refuse what was refused a moment ago, before anything is done for it.

        Raises `APIError` 429.
        """
        if self._organization is not None:
            self._organization.check()
        accounts = self._state.stores.opened_accounts
        if accounts is not None and self._has_limits:
            ledger = accounts.ledger
            error = ledger.recent_refusal(self._project.id, self._asked, self._limits, self._budget)
            if error is not None:
                raise limit_refusal(error, self._project.id, self._asked.model)

    @property
    def _has_limits(self) -> bool:
        return self._budget is not None or self._limits != RateLimits()

    def reserve_nonblocking(self) -> None:
        """Hold what the request may use where that takes no thread, so that `reserve` need not.

        Before the engine has the request: its thread and this one would take turns for Python's
        lock, which takes longer than both after one another.
        """
        accounts = self._state.stores.opened_accounts
        if accounts is not None and self._organization is None and self._has_limits:
            with suppress(WouldBlockError):
                self._hold(accounts.ledger, blocking=False)

    @property
    def has_reserved(self) -> bool:
        """Whether `reserve` has nothing left to do, so that it can't refuse any more."""
        return self._is_open or (self._organization is None and not self._has_limits)

    async def reserve(self) -> None:
        """Hold what the request may use; raises `APIError` 429 or 503.

        What becomes of it if the store does not answer is a setting, of limits and of budgets.
        """
        if self._is_open:
            return
        if self._organization is not None:
            await self._reserve_of(self._organization)
        self._is_open = True
        if self._has_limits:
            try:
                await self._state.stores.in_accounts(
                    lambda accounts: self._hold(accounts.ledger, blocking=True)
                )
            except APIError:
                if self._organization is not None:  # nothing else will settle it
                    await self._organization.settle()
                raise

    def _hold(self, ledger: Ledger, *, blocking: bool) -> None:
        """Reserve; raises `APIError` and `WouldBlockError`."""
        asked = self._asked
        try:
            reserved = ledger.reserve(
                self._project.id, asked, self._limits, self._budget, blocking=blocking
            )
        except RefusedError as error:
            self._is_open = False
            raise limit_refusal(error, self._project.id, asked.model) from None
        except StoreError as error:
            _log.error("a request can't be checked against its project's limits: %s", error)
            is_refused = self._needs_limits or self._needs_budget
            self._is_open = not is_refused
            self._note_outage(is_refused=is_refused)
        else:
            self._is_open = True
            self._shard = reserved.shard
            self.headers = limit_headers(reserved.states)

    async def _reserve_of(self, organization: OrganizationMeter) -> None:
        """Check the organization's limit; raises `APIError` 429 or 503."""
        try:
            await organization.reserve()
        except StoreError as error:
            _log.error("a request can't be checked against the organization's limit: %s", error)
            if organization.has_limit:
                self._note_outage(is_refused=self._needs_budget)

    async def settle(self) -> None:
        """Count what the request came to, once; raises `APIError` 503 where a budget needs it."""
        if not self._is_open:
            return
        self._is_open = False
        project_id, asked, group, used = self._project.id, self._asked, self._group, self._used()
        shard = self._shard
        request_context().cost = used.cost
        try:
            await self._state.stores.in_ledger(
                lambda ledger, blocking: ledger.settle(
                    project_id, asked, group, used, shard, blocking=blocking
                )
            )
        except StoreError as error:
            _log.error("the usage of request %s is not counted: %s", asked.id, error)
            self._note_outage(is_refused=self._needs_budget)
        if self._project.spend_alerts and used.cost:
            await self._state.spend_alerts.settled(self._project, used.cost)
        if self._organization is not None:
            await self._organization.settle()

    def forgive(self) -> None:
        """Let nobody pay: the request failed."""
        self._is_forgiven = True

    async def abandon(self) -> None:
        """Settle where nobody can be told any more whether it worked."""
        try:
            await self.settle()
        except APIError:  # it is in the log
            return
        except Exception:
            _log.exception("the usage of request %s is not counted", self._asked.id)

    @property
    def _needs_limits(self) -> bool:
        """Whether nothing may begin unless its rate limits were checked."""
        refuses = self._state.settings.rate_limits_outage == "refuse"
        return refuses and self._limits != RateLimits()

    @property
    def _needs_budget(self) -> bool:
        """Whether nothing may be delivered that can't be counted."""
        organization = self._organization
        has_budget = self._budget is not None or (
            organization is not None and organization.has_limit
        )
        return has_budget and self._state.settings.budgets_outage == "refuse"

    def _note_outage(self, *, is_refused: bool) -> None:
        """Note for the metrics what becomes of a request; raises `APIError` 503 to refuse it."""
        request_context().accounts_outage = "refused" if is_refused else "allowed"
        if is_refused:
            raise accounts_unavailable()

    def _most(self) -> Reservation:
        """What the request can come to at most."""
        prompt, completion = self._counts.most()
        return Reservation(
            id=secrets.token_hex(8),
            model=self._group.model,
            tokens=prompt + completion,
            cost=self._prices.most(prompt, completion),
            expires_at=int(self._state.clock()) + _EXPIRY_SECONDS,
        )

    def _used(self) -> Usage:
        """What the request has come to so far.

        Whoever disconnects pays for the prompt, too, and for what was delivered.
        """
        if self._is_forgiven:
            return Usage()
        used = Usage(requests=1)
        used.prompt, used.cached, used.completion = self._counts.used()
        used.prompt_cost = (used.prompt - used.cached) * self._prices.prompt
        used.cached_cost = used.cached * self._prices.cached
        used.completion_cost = used.completion * self._prices.completion
        return used
