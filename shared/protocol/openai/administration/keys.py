"""Keys and service accounts in the administration API, as OpenAI types them."""

from __future__ import annotations

from typing import Any, Literal

from shared.accounts.types import ApiKey, ServiceAccount
from shared.protocol.responses import Body


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
