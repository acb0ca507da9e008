"""API keys of projects and of administrators: issuing, listing, revoking, looking up."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shared.accounts.audit_log import Actor, AuditLog
from shared.accounts.documents import (
    ORGANIZATION_PLACE,
    changed,
    hash_place,
    key_of,
    key_place,
    organization_of,
    project_of,
    project_place,
    revised,
    service_account_of,
    service_account_place,
    to_value,
)
from shared.accounts.key_format import hash_of, new_key, redacted
from shared.accounts.projects import ServiceAccounts
from shared.accounts.records import Place, Record, Records
from shared.accounts.types import (
    AccountError,
    ApiKey,
    Clock,
    Organization,
    Project,
    ServiceAccount,
    UnknownAccountError,
    new_account_id,
)
from shared.storage.base import StoreError

_log = logging.getLogger("pilotlight.accounts")

_USE_RESOLUTION = 3600
"""Seconds between writes of when a key was used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who has a key: a project, or nobody's project, which is an administrator."""

    key: ApiKey
    project: Project | None = None
    service_account: ServiceAccount | None = None
    organization: Organization = field(default_factory=Organization)


class ApiKeys:
    """Keys; only their hashes are kept. All methods raise `StoreError`."""

    def __init__(
        self,
        records: Records,
        service_accounts: ServiceAccounts,
        audit_log: AuditLog,
        clock: Clock,
    ) -> None:
        self._records = records
        self._service_accounts = service_accounts
        self._audit_log = audit_log
        self._clock = clock

    def issue(
        self,
        actor: Actor,
        name: str,
        owner: ServiceAccount | None,
        expires_in: int | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key and its secret, which is not kept. Without ``owner`` it is an admin key.

        ``expires_in``: seconds, None for never. Raises `ArchivedProjectError`.
        """
        project = self._service_accounts.active_project(owner.project_id) if owner else None
        secret = new_key(is_admin=owner is None)
        now = int(self._clock())
        key = ApiKey(
            id=new_account_id("key", self._clock),
            name=name,
            hash=hash_of(secret.encode()),
            redacted=redacted(secret),
            created_at=now,
            expires_at=None if expires_in is None else now + expires_in,
            project_id=owner.project_id if owner else None,
            service_account_id=owner.id if owner else None,
        )
        event = self._event(actor, "api_key.created", {"id": key.id, "data": {}}, project)
        self._records.write([*_records_of(key), event])
        return key, secret

    def get(self, project_id: str | None, key_id: str) -> ApiKey:
        """One of a project's keys, or of the admin keys; raises `UnknownAccountError`."""
        return key_of(_found(self._records.get(key_place(key_id, project_id)), key_id))

    def list(
        self,
        project_id: str | None,
        *,
        limit: int,
        after: str | None = None,
        descending: bool = False,
    ) -> tuple[Sequence[ApiKey], bool]:
        """A page of a project's keys, or of the admin keys; whether there are more behind it."""
        partition = key_place("", project_id).partition
        page = self._records.list(
            partition, "", limit=limit + 1, after=after, descending=descending
        )
        return [key_of(record) for record in page[:limit]], len(page) > limit

    def expire(self, actor: Actor, project_id: str, key_id: str, expires_in: int) -> ApiKey:
        """Let a key end in ``expires_in`` seconds; raises `AccountError` if it has ended."""
        now = int(self._clock())
        details = {"id": key_id, "changes_requested": {"expires_in_seconds": expires_in}}
        result: list[Record] = []

        def change(record: Record | None) -> tuple[Sequence[Record], Sequence[Record]]:
            key = key_of(_found(record, key_id))
            if key.is_expired(now):
                raise AccountError(f"The key '{key_id}' has expired: create another one.")
            project = self._project(key)
            pair = [revised(found, expires_at=now + expires_in) for found in self._pair(key)]
            if not pair:  # it was revoked meanwhile
                raise UnknownAccountError("key", key_id)
            result[:] = pair
            return [*pair, self._event(actor, "api_key.updated", details, project)], []

        changed(self._records, key_place(key_id, project_id), change)
        return key_of(result[0])

    def revoke(self, actor: Actor, project_id: str | None, key_id: str) -> None:
        """Delete a key. Processes that have just seen it accept it for 30 s more at most."""

        def change(record: Record | None) -> tuple[Sequence[Record], Sequence[Record]]:
            key = key_of(_found(record, key_id))
            event = self._event(actor, "api_key.deleted", {"id": key_id}, self._project(key))
            return [event], self._pair(key)

        changed(self._records, key_place(key_id, project_id), change)

    def owner(self, key: ApiKey) -> ServiceAccount | None:
        """The service account that has a key; None for admin keys, and where it was deleted."""
        if key.project_id is None or key.service_account_id is None:
            return None
        record = self._records.get(service_account_place(key.project_id, key.service_account_id))
        return service_account_of(record) if record else None

    def holder(self, key_hash: str, *, notes_use: bool = True) -> Holder | None:
        """Whose key has this hash, None for nobody's that is in force.

        ``notes_use``: whether it is noted that the key was used; else nothing is written.
        """
        found = self._records.get(hash_place(key_hash))
        if found is None:
            return None
        key = key_of(found)
        if key.is_expired(self._clock()):
            return None
        if key.project_id is None or key.service_account_id is None:
            if notes_use:
                self._note_use(key)
            return Holder(key=key)
        places = (
            project_place(key.project_id),
            service_account_place(key.project_id, key.service_account_id),
        )
        there = self._records.get_all((*places, ORGANIZATION_PLACE))
        if any(place not in there for place in places):
            return None
        project = project_of(there[places[0]])
        if project.archived_at is not None:
            return None
        if notes_use:
            self._note_use(key)
        account = service_account_of(there[places[1]])
        return Holder(
            key=key,
            project=project,
            service_account=account,
            organization=organization_of(there.get(ORGANIZATION_PLACE)),
        )

    def _note_use(self, key: ApiKey) -> None:
        """Write when a key was used, once in an hour; whoever is faster may do it."""
        now = int(self._clock())
        if key.last_used_at is None or now - key.last_used_at >= _USE_RESOLUTION:
            try:
                pair = [revised(record, last_used_at=now) for record in self._pair(key)]
                if pair:  # it was not revoked meanwhile
                    self._records.write(pair)
            except StoreError as error:  # a key is good without
                _log.warning("when key %s was used is not noted: %s", key.id, error)

    def _pair(self, key: ApiKey) -> Sequence[Record]:
        """A key's two records: for lists, and for authentication."""
        places = (key_place(key.id, key.project_id), hash_place(key.hash))
        there = self._records.get_all(places)
        return [there[place] for place in places if place in there]

    def _project(self, key: ApiKey) -> Project | None:
        if key.project_id is None:
            return None
        record = self._records.get(project_place(key.project_id))
        return project_of(record) if record else None

    def _event(
        self, actor: Actor, type: str, details: Mapping[str, object], project: Project | None
    ) -> Record:
        place = (project.id, project.name) if project else None
        return self._audit_log.event(actor, type, details, place)


def _records_of(key: ApiKey) -> Sequence[Record]:
    places: tuple[Place, ...] = (key_place(key.id, key.project_id), hash_place(key.hash))
    return [Record(place, to_value(key)) for place in places]


def _found(record: Record | None, key_id: str) -> Record:
    if record is None:
        raise UnknownAccountError("key", key_id)
    return record
