"""Objects of the administration API, as OpenAI types them, made of what accounts have."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from shared.accounts.api_keys import Holder
from shared.accounts.audit_log import AuditEvent, AuditPage
from shared.accounts.ledger.counters import Counters
from shared.accounts.ledger.reservation import LimitName
from shared.accounts.limits import CENT, NANODOLLARS, RateLimits
from shared.accounts.types import ApiKey, ModelPermissions, Project, ServiceAccount, ServiceTiers
from shared.protocol.openai.administration.requests import UNLIMITED
from shared.protocol.responses import Body

RATE_LIMIT_PREFIX = "rl-"
"""What ids of rate limits begin with; the model follows."""


class ProjectObject(Body):
    """A project."""

    id: str
    object: Literal["organization.project"] = "organization.project"
    name: str
    created_at: int
    archived_at: int | None
    status: Literal["active", "archived"]

    @classmethod
    def of(cls, project: Project) -> ProjectObject:
        """A project as it is shown."""
        return cls(
            id=project.id,
            name=project.name,
            created_at=project.created_at,
            archived_at=project.archived_at,
            status="active" if project.archived_at is None else "archived",
        )


class ServiceAccountObject(Body):
    """A service account."""

    id: str
    object: Literal["organization.project.service_account"] = "organization.project.service_account"
    name: str
    role: Literal["owner", "member", "none"]
    created_at: int

    @classmethod
    def of(cls, account: ServiceAccount) -> ServiceAccountObject:
        """A service account as it is shown."""
        return cls(
            id=account.id, name=account.name, role=account.role, created_at=account.created_at
        )


class NewKeyObject(Body):
    """A key that was just made, with its secret: this once."""

    id: str
    object: Literal["organization.project.service_account.api_key"] = (
        "organization.project.service_account.api_key"
    )
    name: str
    value: str
    created_at: int
    expires_at: int | None

    @classmethod
    def of(cls, key: ApiKey, secret: str) -> NewKeyObject:
        """A key and its secret."""
        return cls(
            id=key.id,
            name=key.name,
            value=secret,
            created_at=key.created_at,
            expires_at=key.expires_at,
        )


class NewServiceAccountObject(ServiceAccountObject):
    """A service account that was just made, with its first key."""

    api_key: NewKeyObject | None


class KeyOwnerAccount(Body):
    """The service account that has a key."""

    id: str
    name: str
    role: str
    created_at: int


class KeyOwner(Body):
    """Who has a key."""

    type: Literal["service_account"] = "service_account"
    service_account: KeyOwnerAccount | None


class ProjectKeyObject(Body):
    """A project's key, without the secret."""

    id: str
    object: Literal["organization.project.api_key"] = "organization.project.api_key"
    name: str
    redacted_value: str
    created_at: int
    last_used_at: int | None
    expires_at: int | None
    owner: KeyOwner
    owner_project_access: Literal["active", "inactive"]

    @classmethod
    def of(cls, key: ApiKey, owner: ServiceAccount | None) -> ProjectKeyObject:
        """A key as it is shown; ``owner`` is None where the service account was deleted."""
        shown = None
        if owner is not None:
            shown = KeyOwnerAccount(
                id=owner.id, name=owner.name, role=owner.role, created_at=owner.created_at
            )
        return cls(
            id=key.id,
            name=key.name,
            redacted_value=key.redacted,
            created_at=key.created_at,
            last_used_at=key.last_used_at,
            expires_at=key.expires_at,
            owner=KeyOwner(service_account=shown),
            owner_project_access="inactive" if owner is None else "active",
        )


class AdminKeyOwner(Body):
    """Who has an admin key: the operator of the deployment, of whom nothing is known."""

    type: Literal["user"] = "user"
    object: Literal["organization.user"] = "organization.user"
    id: str = "operator"
    name: str = "operator"
    role: Literal["owner"] = "owner"
    created_at: int


class AdminKeyObject(Body):
    """An admin key, without the secret."""

    id: str
    object: Literal["organization.admin_api_key"] = "organization.admin_api_key"
    name: str
    redacted_value: str
    created_at: int
    last_used_at: int | None
    expires_at: int | None
    owner: AdminKeyOwner

    @classmethod
    def values(cls, key: ApiKey) -> dict[str, Any]:
        """The fields' values for a key."""
        return {
            "id": key.id,
            "name": key.name,
            "redacted_value": key.redacted,
            "created_at": key.created_at,
            "last_used_at": key.last_used_at,
            "expires_at": key.expires_at,
            "owner": AdminKeyOwner(created_at=key.created_at),
        }


class NewAdminKeyObject(AdminKeyObject):
    """An admin key that was just made, with its secret: this once."""

    value: str


class ModelPermissionsObject(Body):
    """Models that a project may use. Without a policy: all, as with an empty deny list."""

    object: Literal["project.model_permissions"] = "project.model_permissions"
    mode: Literal["allow_list", "deny_list"]
    model_ids: list[str]

    @classmethod
    def of(cls, permissions: ModelPermissions | None) -> ModelPermissionsObject:
        """A policy as it is shown."""
        if permissions is None:
            return cls(mode="deny_list", model_ids=[])
        return cls(mode=permissions.mode, model_ids=list(permissions.models))


class RateLimitObject(Body):
    """Rate limits of a model for a project."""

    id: str
    object: Literal["project.rate_limit"] = "project.rate_limit"
    model: str
    max_requests_per_1_minute: int
    max_tokens_per_1_minute: int
    max_requests_per_1_day: int

    @classmethod
    def of(cls, model: str, limits: RateLimits) -> RateLimitObject:
        """Limits as they are shown; those that are not set are as large as can be."""
        return cls(
            id=f"{RATE_LIMIT_PREFIX}{model}",
            model=model,
            max_requests_per_1_minute=limits.requests_per_minute or UNLIMITED,
            max_tokens_per_1_minute=limits.tokens_per_minute or UNLIMITED,
            max_requests_per_1_day=limits.requests_per_day or UNLIMITED,
        )


class ServiceTierSettingsObject(Body):
    """Order in the queue that a project may ask for."""

    object: Literal["project.service_tier_settings"] = "project.service_tier_settings"
    default: Literal["standard", "fast", "scale"]
    enabled_tiers: Literal["all"] | list[str]

    @classmethod
    def of(cls, tiers: ServiceTiers) -> ServiceTierSettingsObject:
        """Settings as they are shown."""
        enabled = tiers.enabled
        return cls(
            default=tiers.default, enabled_tiers="all" if enabled == "all" else list(enabled)
        )


class Enforcement(Body):
    """Whether a spend limit refuses requests now."""

    status: Literal["inactive", "enforcing"]


class SpendLimitObject(Body):
    """What a project may spend in a month; ``threshold_amount`` in cents."""

    object: Literal["project.spend_limit"] = "project.spend_limit"
    currency: Literal["USD"] = "USD"
    interval: Literal["month"] = "month"
    threshold_amount: int
    enforcement: Enforcement


class SpendLimitDeleted(Body):
    """That a spend limit was deleted."""

    object: Literal["project.spend_limit.deleted"] = "project.spend_limit.deleted"
    deleted: bool


class Deleted(Body):
    """That something was deleted; ``object`` says what."""

    id: str
    object: str
    deleted: Literal[True] = True


class ModelPermissionsDeleted(Body):
    """That a policy was deleted."""

    object: Literal["project.model_permissions.deleted"] = "project.model_permissions.deleted"
    deleted: bool


class AuditEventObject(Body, extra="allow"):
    """A change. The details are in a field that is named as the ``type``."""

    id: str
    object: Literal["organization.audit_log"] = "organization.audit_log"
    type: str
    effective_at: int
    actor: dict[str, Any]
    project: dict[str, Any] | None = None


def audit_event_object(event: AuditEvent) -> dict[str, Any]:
    """An event as it is shown. Changes at the terminal have an actor without an id."""
    actor = event.actor
    account = {"service_account": {"id": actor.service_account_id}}
    key = {"id": actor.key_id, "type": "service_account", **account}
    project = {"id": event.project_id, "name": event.project_name}
    return {
        "id": event.id,
        "object": "organization.audit_log",
        "type": event.type,
        "effective_at": event.effective_at,
        "actor": {"type": "api_key", "api_key": key},
        **({"project": project} if event.project_id else {}),
        event.type: dict(event.details),
    }


def audit_log_object(page: AuditPage) -> dict[str, Any]:
    """A page of events."""
    data = [audit_event_object(event) for event in page.events]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": page.last_id,
        "has_more": page.has_more,
    }


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
