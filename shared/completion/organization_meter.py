"""Metering of what all projects together spend: the organization's limit and its alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.accounts.limits import CENT
from shared.protocol.errors import APIError, insufficient_quota

if TYPE_CHECKING:
    import asyncio

    from shared.accounts.types import Organization
    from shared.runtime.state import ServerState


class OrganizationMeter:
    """Meter of one request, where the organization has a spend limit or alerts."""

    def __init__(self, state: ServerState, organization: Organization) -> None:
        self._state = state
        self._organization = organization
        self._renewal: asyncio.Task[None] | None = None

    @property
    def has_limit(self) -> bool:
        """Whether there is a limit; otherwise there are alerts only."""
        return self._organization.spend_limit is not None

    def check(self) -> None:
        """Refuse by what this process knows already; raises `APIError` 429."""
        self._refuse_above_limit(self._state.organization_budget.known or 0)

    async def reserve(self) -> None:
        """Refuse what may not be spent; nothing is held. Raises `APIError` 429 and `StoreError`."""
        spent, self._renewal = await self._state.organization_budget.spent()
        try:
            self._refuse_above_limit(spent)
        except APIError:
            await self.settle()
            raise

    async def settle(self) -> None:
        """Do what falls to this request, before its last bytes leave: sum up, send alerts."""
        budget, renewal, self._renewal = self._state.organization_budget, self._renewal, None
        await budget.wait(renewal)
        if self._organization.spend_alerts and budget.known is not None:
            await self._state.spend_alerts.summed_up(self._organization, budget.known)

    def _refuse_above_limit(self, spent: int) -> None:
        limit = self._organization.spend_limit
        if limit is not None and spent >= limit * CENT:
            raise insufficient_quota(
                "All projects together have reached the organization's spend limit for this "
                "month. Whoever administers this server can raise it."
            )
