"""Documents of accounts: dataclasses as JSON, and changes that start over if others are faster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from shared.accounts.limits import RateLimits
from shared.accounts.records import Place, Record, Records
from shared.accounts.types import (
    ApiKey,
    ModelPermissions,
    Organization,
    Project,
    ServiceAccount,
    ServiceTiers,
    SpendAlert,
)
from shared.storage.base import StoreError

DocumentT = TypeVar("DocumentT", Project, ServiceAccount, ApiKey)

_ATTEMPTS = 20

PROJECTS = "projects"
ADMIN_KEYS = "admin_keys"
ORGANIZATION_PLACE = Place("organization", "organization")
"""Where it is said what holds for all projects together."""


def project_place(project_id: str) -> Place:
    """Where a project is."""
    return Place(PROJECTS, project_id)


def service_account_place(project_id: str, account_id: str) -> Place:
    """Where one of a project's service accounts is."""
    return Place(f"service_accounts:{project_id}", account_id)


def key_place(key_id: str, project_id: str | None) -> Place:
    """Where a key is, for lists: among its project's, or among the admin keys."""
    return Place(ADMIN_KEYS if project_id is None else f"keys:{project_id}", key_id)


def hash_place(key_hash: str) -> Place:
    """Where it is written whose a hash is, for authentication: a partition for each."""
    return Place(f"key:{key_hash}", "key")


def to_value(document: Project | ServiceAccount | ApiKey) -> dict[str, Any]:
    """A document as it is kept."""
    return asdict(document)


def project_of(record: Record) -> Project:
    """The project that a record is."""
    value = dict(record.value)
    permissions = value.pop("model_permissions", None)
    limits = value.pop("rate_limits", {})
    tiers = value.pop("service_tiers", {})
    alerts = value.pop("spend_alerts", ())
    return Project(
        **value,
        model_permissions=ModelPermissions(**permissions) if permissions else None,
        service_tiers=_tiers(**tiers),
        rate_limits={model: RateLimits(**each) for model, each in limits.items()},
        spend_alerts=_alerts(alerts),
    )


def organization_of(record: Record | None) -> Organization:
    """The organization that a record is; without one nothing is set."""
    value = {} if record is None else dict(record.value)
    return Organization(**value | {"spend_alerts": _alerts(value.pop("spend_alerts", ()))})


def _alerts(kept: Sequence[Mapping[str, Any]]) -> Sequence[SpendAlert]:
    return tuple(SpendAlert(**{**each, "recipients": tuple(each["recipients"])}) for each in kept)


def _tiers(default: str = "standard", enabled: Any = ()) -> ServiceTiers:
    found: Any = default
    return ServiceTiers(default=found, enabled="all" if enabled == "all" else tuple(enabled))


def service_account_of(record: Record) -> ServiceAccount:
    """The service account that a record is."""
    return ServiceAccount(**record.value)


def key_of(record: Record) -> ApiKey:
    """The key that a record is."""
    return ApiKey(**record.value)


def changed(
    records: Records,
    place: Place,
    change: Callable[[Record | None], tuple[Sequence[Record], Sequence[Record]] | None],
) -> None:
    """Make the writes that ``change`` says for the record that is there now: puts and removals.

    It is asked again when somebody else has changed one of them meanwhile, and may raise. None:
    nothing is to be written. Raises `StoreError`.
    """
    for _ in range(_ATTEMPTS):
        writes = change(records.get(place))
        if writes is None or records.write(*writes):
            return
    raise StoreError(f"'{place.key}' is being changed by others all the time")


def revised(record: Record, **values: Any) -> Record:
    """A record with other values of some fields."""
    value: Mapping[str, Any] = {**record.value, **values}
    return Record(record.place, value, record.version)
