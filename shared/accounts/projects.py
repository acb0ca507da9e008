"""Projects and their service accounts: creating, changing and ending them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

from shared.accounts.audit_log import Actor, AuditLog
from shared.accounts.documents import (
    PROJECTS,
    changed,
    project_of,
    project_place,
    revised,
    service_account_of,
    service_account_place,
    to_value,
)
from shared.accounts.limits import RateLimits
from shared.accounts.records import Record, Records
from shared.accounts.types import (
    AccountError,
    ArchivedProjectError,
    Clock,
    ModelPermissions,
    Project,
    ServiceAccount,
    UnknownAccountError,
    new_account_id,
)

_PAGE = 100
_MOST_LIMITED = 256
"""Models of a project with limits: each request's key is looked up with all of them."""


class Projects:
    """Projects. All methods raise `StoreError`, those about one `UnknownAccountError`."""

    def __init__(self, records: Records, audit_log: AuditLog, clock: Clock) -> None:
        self._records = records
        self._audit_log = audit_log
        self._clock = clock

    def create(self, actor: Actor, name: str) -> Project:
        """A new project."""
        project = Project(
            id=new_account_id("proj", self._clock), name=name, created_at=int(self._clock())
        )
        details = {"id": project.id, "data": {"name": name, "title": name}}
        event = self._audit_log.event(actor, "project.created", details, (project.id, name))
        self._records.write([Record(project_place(project.id), to_value(project)), event])
        return project

    def get(self, project_id: str) -> Project:
        """A project, be it archived or not."""
        return project_of(self._found(self._records.get(project_place(project_id)), project_id))

    def list(
        self, *, limit: int, after: str | None = None, include_archived: bool = False
    ) -> tuple[Sequence[Project], bool]:
        """A page of projects, the oldest first, and whether there are more behind it."""
        found: list[Project] = []
        while page := self._records.list(PROJECTS, "", limit=_PAGE, after=after):
            projects = map(project_of, page)
            found += [p for p in projects if include_archived or p.archived_at is None]
            if len(found) > limit or len(page) < _PAGE:
                break
            after = page[-1].place.key
        return found[:limit], len(found) > limit

    def all(self, *, include_archived: bool = False) -> Iterator[Project]:
        """All projects, the oldest first."""
        after, has_more = None, True
        while has_more:
            page, has_more = self.list(limit=_PAGE, after=after, include_archived=include_archived)
            yield from page
            after = page[-1].id if page else None

    def rename(self, actor: Actor, project_id: str, name: str) -> Project:
        """Give a project another name."""
        details = {"id": project_id, "changes_requested": {"title": name}}
        return self._change(actor, "project.updated", project_id, details, name=name)

    def archive(self, actor: Actor, project_id: str) -> Project:
        """End a project for good: its keys stop, and what it has stored and used stays."""
        archived_at = int(self._clock())
        return self._change(
            actor, "project.archived", project_id, {"id": project_id}, archived_at=archived_at
        )

    def permit_models(
        self, actor: Actor, project_id: str, permissions: ModelPermissions | None
    ) -> Project:
        """Say which models a project may use; None for all."""
        value = asdict(permissions) if permissions else None
        details = {"id": project_id, "changes_requested": {"model_permissions": value}}
        return self._change(actor, "project.updated", project_id, details, model_permissions=value)

    def set_service_tiers(self, actor: Actor, project_id: str, **changes: Any) -> Project:
        """Change fields of `ServiceTiers`."""
        result: list[Record] = []

        def change(record: Record | None) -> tuple[Sequence[Record], Sequence[Record]]:
            project = self._active(record, project_id)
            assert record is not None
            tiers = asdict(replace(project.service_tiers, **changes))
            result[:] = [revised(record, service_tiers=tiers)]
            details = {"id": project_id, "changes_requested": {"service_tiers": changes}}
            whose = (project_id, project.name)
            event = self._audit_log.event(actor, "project.updated", details, whose)
            return [result[0], event], []

        changed(self._records, project_place(project_id), change)
        return project_of(result[0])

    def limit_rates(
        self, actor: Actor, project_id: str, model: str, **changes: int | None
    ) -> Project:
        """Change limits of a model: fields of `RateLimits`, None for no limit.

        Raises `AccountError` for one model too many.
        """
        result: list[Record] = []

        def change(record: Record | None) -> tuple[Sequence[Record], Sequence[Record]]:
            project = self._active(record, project_id)
            assert record is not None
            limits = {name: asdict(each) for name, each in project.rate_limits.items()}
            new = replace(project.rate_limits.get(model, RateLimits()), **changes)
            limits[model] = asdict(new)
            if new == RateLimits():
                del limits[model]
            if len(limits) > _MOST_LIMITED:
                raise AccountError(
                    f"The project has rate limits for {_MOST_LIMITED} models, which is the most. "
                    "Set those of another model to 2147483647 to remove them."
                )
            result[:] = [revised(record, rate_limits=limits)]
            details = {"id": model, "changes_requested": changes}
            place = (project_id, project.name)
            return [
                result[0],
                self._audit_log.event(actor, "rate_limit.updated", details, place),
            ], []

        changed(self._records, project_place(project_id), change)
        return project_of(result[0])

    def limit_spending(self, actor: Actor, project_id: str, cents: int | None) -> Project:
        """Limit what a project may spend in a month; None for no limit."""
        details = {"id": project_id, "changes_requested": {"spend_limit": cents}}
        return self._change(actor, "project.updated", project_id, details, spend_limit=cents)

    def _active(self, record: Record | None, project_id: str) -> Project:
        """A record's project; raises `ArchivedProjectError` for one that is archived."""
        project = project_of(self._found(record, project_id))
        if project.archived_at is not None:
            raise ArchivedProjectError(project_id)
        return project

    def _change(
        self, actor: Actor, type: str, project_id: str, details: dict[str, Any], **values: Any
    ) -> Project:
        """Change a project that is not archived; raises `ArchivedProjectError` for one that is."""
        result: list[Record] = []

        def change(record: Record | None) -> tuple[Sequence[Record], Sequence[Record]]:
            self._active(record, project_id)
            assert record is not None
            new = revised(record, **values)
            result[:] = [new]
            event = self._audit_log.event(actor, type, details, (project_id, new.value["name"]))
            return [new, event], []

        changed(self._records, project_place(project_id), change)
        return project_of(result[0])

    @staticmethod
    def _found(record: Record | None, project_id: str) -> Record:
        if record is None:
            raise UnknownAccountError("project", project_id)
        return record


class ServiceAccounts:
    """Service accounts of projects. All methods raise `StoreError` and `UnknownAccountError`."""

    def __init__(
        self, records: Records, projects: Projects, audit_log: AuditLog, clock: Clock
    ) -> None:
        self._records = records
        self._projects = projects
        self._audit_log = audit_log
        self._clock = clock

    def create(
        self,
        actor: Actor,
        project_id: str,
        name: str,
        role: Literal["owner", "member", "none"] = "member",
    ) -> ServiceAccount:
        """A new one; raises `ArchivedProjectError`."""
        project = self.active_project(project_id)
        account = ServiceAccount(
            id=new_account_id("svc_acct", self._clock),
            project_id=project_id,
            name=name,
            role=role,
            created_at=int(self._clock()),
        )
        details = {"id": account.id, "data": {"role": role}}
        event = self._event(actor, "service_account.created", details, project)
        place = service_account_place(project_id, account.id)
        self._records.write([Record(place, to_value(account)), event])
        return account

    def get(self, project_id: str, account_id: str) -> ServiceAccount:
        """One of a project's."""
        record = self._records.get(service_account_place(project_id, account_id))
        return service_account_of(_found(record, account_id))

    def list(
        self, project_id: str, *, limit: int, after: str | None = None
    ) -> tuple[Sequence[ServiceAccount], bool]:
        """A page of a project's, the oldest first, and whether there are more behind it."""
        self._projects.get(project_id)
        partition = service_account_place(project_id, "").partition
        page = self._records.list(partition, "", limit=limit + 1, after=after)
        return [service_account_of(record) for record in page[:limit]], len(page) > limit

    def update(
        self, actor: Actor, project_id: str, account_id: str, **values: str
    ) -> ServiceAccount:
        """Change its name or role."""
        project = self.active_project(project_id)
        details = {"id": account_id, "changes_requested": values}
        result: list[Record] = []

        def change(record: Record | None) -> tuple[Sequence[Record], Sequence[Record]]:
            result[:] = [revised(_found(record, account_id), **values)]
            return [result[0], self._event(actor, "service_account.updated", details, project)], []

        changed(self._records, service_account_place(project_id, account_id), change)
        return service_account_of(result[0])

    def delete(self, actor: Actor, project_id: str, account_id: str) -> None:
        """Delete one; its keys stop, since they have no owner any more."""
        project = self._projects.get(project_id)

        def change(record: Record | None) -> tuple[Sequence[Record], Sequence[Record]]:
            gone = _found(record, account_id)
            event = self._event(actor, "service_account.deleted", {"id": account_id}, project)
            return [event], [gone]

        changed(self._records, service_account_place(project_id, account_id), change)

    def active_project(self, project_id: str) -> Project:
        """A project that takes something new; raises `ArchivedProjectError` if it does not."""
        project = self._projects.get(project_id)
        if project.archived_at is not None:
            raise ArchivedProjectError(project_id)
        return project

    def _event(self, actor: Actor, type: str, details: dict[str, Any], project: Project) -> Record:
        return self._audit_log.event(actor, type, details, (project.id, project.name))


def _found(record: Record | None, account_id: str) -> Record:
    if record is None:
        raise UnknownAccountError("service account", account_id)
    return record
