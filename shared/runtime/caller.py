"""Caller of a request: who is served, what may be used, and which key it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.storage.types import DEFAULT_TENANT

if TYPE_CHECKING:
    from shared.accounts.api_keys import Holder


@dataclass(frozen=True, slots=True)
class Caller:
    """Caller of a request. ``tenant`` owns what it stores: a project, or a key from settings.

    ``holder`` is there for keys of accounts. One without a project administers.
    """

    tenant: str
    key_id: str | None
    holder: Holder | None = None

    @property
    def is_admin(self) -> bool:
        """Whether the key administers, and completes nothing."""
        return self.holder is not None and self.holder.project is None

    def service_tier(self, asked: str | None) -> str | None:
        """The tier that a request gets, of the one that it asks for."""
        project = self.holder.project if self.holder is not None else None
        return asked if project is None else project.service_tiers.of(asked)

    def may_use(self, names: tuple[str, ...]) -> bool:
        """Whether the model with these names may be used."""
        project = self.holder.project if self.holder is not None else None
        permissions = project.model_permissions if project is not None else None
        return permissions is None or permissions.permits(names)


ANONYMOUS = Caller(DEFAULT_TENANT, None)
"""Whoever calls a server that needs no key."""
