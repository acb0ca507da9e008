"""``GET /v1/key``: what a key may still use, and has used."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.accounts.api_keys import Holder
from shared.accounts.ledger.counters import Counters
from shared.accounts.ledger.reservation import LimitName
from shared.accounts.limits import CENT, NANODOLLARS
from shared.accounts.types import Project
from shared.protocol.openai.administration.objects import ModelPermissionsObject
from shared.protocol.responses import Body


class HolderProject(Body):
    """The project of a key."""

    id: str
    name: str


class HolderLimit(Body):
    """A rate limit, and what is left of it."""

    model: str
    name: LimitName
    limit: int
    remaining: int
    reset_seconds: float


class HolderSpending(Body):
    """What the project has spent this month (UTC), and may spend, in dollars."""

    spent: float
    limit: float | None
    remaining: float | None


class HolderObject(Body):
    """What a key's holder may know of it: ``GET /v1/key``."""

    object: Literal["key"] = "key"
    id: str | None
    name: str | None = None
    project: HolderProject | None = None
    is_admin: bool = False
    created_at: int | None = None
    expires_at: int | None = None
    model_permissions: ModelPermissionsObject | None = None
    rate_limits: list[HolderLimit] = Field(default_factory=list)
    spending: HolderSpending | None = None

    @classmethod
    def of(cls, key_id: str | None, holder: Holder | None) -> HolderObject:
        """``holder`` is None for keys from settings, and where no key is needed."""
        if holder is None:
            return cls(id=key_id)
        key, project = holder.key, holder.project
        shown = cls(
            id=key.id,
            name=key.name,
            is_admin=project is None,
            created_at=key.created_at,
            expires_at=key.expires_at,
        )
        if project is not None:
            shown.project = HolderProject(id=project.id, name=project.name)
            shown.model_permissions = ModelPermissionsObject.of(project.model_permissions)
        return shown

    def add_counters(self, project: Project, counters: Counters, now: float) -> None:
        """Tell what the project has used of its limits."""
        self.rate_limits = [
            HolderLimit(
                model=model,
                name=name,
                limit=state.limit,
                remaining=state.remaining,
                reset_seconds=round(state.reset_seconds, 3),
            )
            for model, limits in project.rate_limits.items()
            for name, state in counters.states(model, limits, now).items()
        ]
        spent = counters.spent_in_month(now)
        limit = None if project.spend_limit is None else project.spend_limit * CENT
        left = None if limit is None else max(limit - spent - counters.held, 0)
        self.spending = HolderSpending(
            spent=spent / NANODOLLARS,
            limit=None if limit is None else limit / NANODOLLARS,
            remaining=None if left is None else left / NANODOLLARS,
        )
