"""The view that a URL asks for: whose completions, which of them, and what its form offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from functions.dashboard.completions.filters import FINISH_REASONS, INCOMPLETE, Filters
from functions.dashboard.tenants import TenantChoice, tenant_choice
from shared.storage.types import CompletionQuery

if TYPE_CHECKING:
    from functions.dashboard.handling import PageRequest


@dataclass(frozen=True, slots=True)
class AskedView:
    """What a list or an export is of.

    - ``model``: the name that the completions have, where another one was asked for.
    - ``models``: names that the form offers.
    """

    filters: Filters
    choice: TenantChoice
    has_store: bool
    model: str | None
    models: Sequence[str]

    def query(self, limit: int) -> CompletionQuery | None:
        """The store's query; None where there is nothing to be asked."""
        tenant = self.choice.tenant
        if not self.has_store or tenant is None or self.filters.problems:
            return None
        return self.filters.query(tenant, limit, model=self.model)

    def values(self) -> Mapping[str, Any]:
        """What the form's template shows."""
        return {
            "filters": self.filters,
            "choice": self.choice,
            "has_store": self.has_store,
            "models": self.models,
            "finish_reasons": (*FINISH_REASONS, INCOMPLETE),
        }


async def asked_view(page: PageRequest) -> AskedView:
    """By the parameters of a page's URL; raises `StoreError`."""
    filters = Filters.of(page.request.query_params)
    choice = await tenant_choice(page)
    model = page.state.models.get(filters.model) if filters.model else None
    return AskedView(
        replace(filters, project=choice.parameter or ""),
        choice,
        page.state.settings.store != "none",
        None if model is None else model.name,
        page.state.known_names(page.viewer.caller),
    )
