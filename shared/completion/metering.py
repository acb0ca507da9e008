"""Metering of completions: rate limits and budgets of the caller's project, and its usage.

What a request may use at most is reserved before its prompt is evaluated where that takes no
thread, else meanwhile; nothing is sent before that has succeeded. What it came to is settled before
its last bytes leave: a function that is frozen then does nothing afterwards.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Sequence
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
    from shared.accounts.ledger.ledger import Ledger
    from shared.accounts.types import Project
    from shared.engine.types import GenerationRequest, Output, SequenceUsage
    from shared.runtime.caller import Caller
    from shared.runtime.served_model import ServedModel
    from shared.runtime.state import ServerState

_EXPIRY_SECONDS = 3600
"""After which the reservation of a process that died is taken back."""

_log = logging.getLogger("pilotlight.accounts")


class Meter:
    """Meter of one request of a project."""

    def __init__(
        self,
        state: ServerState,
        project: Project,
        served: ServedModel,
        requests: Sequence[GenerationRequest],
        group: Group,
    ) -> None:
        self._state = state
        self._project = project
        self._organization: OrganizationMeter | None = None
        self._requests = requests
        self._group = group
        prices = state.settings.prices.get(served.name)
        self._has_price = prices is not None
        self._prices = prices.tokens if prices is not None else TokenPrices()
        self._limits = project.rate_limits.get(served.name, RateLimits())
        self._budget = None if project.spend_limit is None else project.spend_limit * CENT
        self._asked = self._most(served)
        self._firsts = _first_choices(requests)
        self._usages: dict[int, SequenceUsage] = {}
        self._sampled: dict[int, int] = {}
        self._shard: int | None = None
        self._is_open = False
        self._is_forgiven = False
        self.headers: dict[str, str] = {}
        """What is left of the limits."""

    @classmethod
    def of(
        cls,
        state: ServerState,
        caller: Caller,
        served: ServedModel,
        requests: Sequence[GenerationRequest],
        *,
        tier: str,
        user: str | None,
    ) -> Meter | None:
        """The meter of a request; None for callers without a project."""
        holder = caller.holder
        if holder is None or holder.project is None:
            return None
        group = Group(key_id=caller.key_id, model=served.name, tier=tier, user=user)
        meter = cls(state, holder.project, served, requests, group)
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
        accounts = self._state.opened_accounts
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
        accounts = self._state.opened_accounts
        if accounts is not None and self._organization is None and self._has_limits:
            with suppress(WouldBlockError):
                self._hold(accounts.ledger, blocking=False)

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
            await self._state.in_accounts(
                lambda accounts: self._hold(accounts.ledger, blocking=True)
            )

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

    def add(self, outputs: Iterable[Output]) -> None:
        """Count outputs that the caller gets."""
        for output in outputs:
            if output.usage is not None and output.finish_reason is not None:
                self._usages[output.index] = output.usage
            if output.n_sampled:
                self._sampled[output.index] = output.n_sampled

    async def settle(self) -> None:
        """Count what the request came to, once; raises `APIError` 503 where a budget needs it.

        A choice that was cut off counts with its prompt and the tokens up to its last output.
        """
        if not self._is_open:
            return
        self._is_open = False
        project_id, asked, group, used = self._project.id, self._asked, self._group, self._used()
        shard = self._shard
        request_context().cost = used.cost
        try:
            await self._state.in_ledger(
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

    def _most(self, served: ServedModel) -> Reservation:
        """What the request can come to at most."""
        prompt = sum(len(request.prompt) for request in self._requests)
        n_ctx = served.engine.n_ctx
        completion = sum(
            min(request.max_tokens, n_ctx - len(request.prompt)) * request.n
            for request in self._requests
        )
        return Reservation(
            id=secrets.token_hex(8),
            model=served.name,
            tokens=prompt + completion,
            cost=self._prices.most(prompt, completion),
            expires_at=int(self._state.clock()) + _EXPIRY_SECONDS,
        )

    def _used(self) -> Usage:
        """As in the answer's ``usage``: each prompt once, the tokens of all choices.

        Whoever disconnects pays for the prompt, too, and for what was delivered.
        """
        if self._is_forgiven:
            return Usage()
        used = Usage(requests=1)
        used.completion = sum(
            usage.completion_tokens if (usage := self._usages.get(index)) is not None else n_sampled
            for index, n_sampled in self._sampled.items()
        )
        for first, request in zip(self._firsts, self._requests, strict=True):
            usage = self._usages.get(first)
            used.prompt += len(request.prompt) if usage is None else usage.prompt_tokens
            used.cached += 0 if usage is None else usage.cached_tokens
        used.prompt_cost = (used.prompt - used.cached) * self._prices.prompt
        used.cached_cost = used.cached * self._prices.cached
        used.completion_cost = used.completion * self._prices.completion
        return used


def _first_choices(requests: Sequence[GenerationRequest]) -> list[int]:
    firsts, index = [], 0
    for request in requests:
        firsts.append(index)
        index += request.n
    return firsts
