"""Objects of the administration API, as OpenAI types them, made of what accounts have."""

from __future__ import annotations

from typing import Any, Literal

from shared.accounts.audit_log import AuditEvent, AuditPage
from shared.accounts.limits import RateLimits
from shared.accounts.types import ModelPermissions, Project, ServiceTiers
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
