"""Audit log: who changed which key or project, when. Written in the transaction of the change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.accounts.records import Place, Record, Records
from shared.accounts.types import Clock, new_account_id

_PARTITION = "audit"
_PREFIX = "audit_log"
_PAGE = 100
_MOST_SCANNED = 10_000
"""Events that are looked at in search of those that pass; then a page ends early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who makes a change: an API key, or the terminal where the store itself is at hand."""

    key_id: str | None = None
    service_account_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """A change, in the words of OpenAI's audit log: ``type`` is ``project.created``, for instance.

    ``details`` has the id of what was changed, and what was asked for.
    """

    id: str
    type: str
    effective_at: int
    actor: Actor
    details: Mapping[str, Any]
    project_id: str | None = None
    project_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery:
    """Which events. ``since`` is inclusive, ``until`` exclusive; empty filters let all pass."""

    limit: int = 20
    after: str | None = None
    types: Sequence[str] = ()
    project_ids: Sequence[str] = ()
    actor_ids: Sequence[str] = ()
    resource_ids: Sequence[str] = ()
    since: float | None = None
    until: float | None = None

    def passes(self, event: AuditEvent) -> bool:
        """Whether ``event`` is one of those that are asked for."""
        actors = (event.actor.key_id, event.actor.service_account_id)
        return (
            (not self.types or event.type in self.types)
            and (not self.project_ids or event.project_id in self.project_ids)
            and (not self.actor_ids or any(actor in self.actor_ids for actor in actors))
            and (not self.resource_ids or event.details.get("id") in self.resource_ids)
            and (self.since is None or event.effective_at >= self.since)
            and (self.until is None or event.effective_at < self.until)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """Events, the newest first. ``last_id`` is where the next page goes on, if there ``has_more``.

    It may be that of an event which is not shown: a page also ends after many that don't pass.
    """

    events: Sequence[AuditEvent]
    has_more: bool
    last_id: str | None


class AuditLog:
    """Events of all projects, in the order of time."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    def event(
        self,
        actor: Actor,
        type: str,
        details: Mapping[str, Any],
        project: tuple[str, str] | None = None,
    ) -> Record:
        """The record to write together with a change. ``project``: id and name."""
        value = {
            "type": type,
            "effective_at": int(self._clock()),
            "actor": [actor.key_id, actor.service_account_id],
            "details": dict(details),
            "project": project,
        }
        return Record(Place(_PARTITION, new_account_id(_PREFIX, self._clock)), value)

    def list(self, query: AuditQuery) -> AuditPage:
        """A page of events."""
        found: list[AuditEvent] = []
        last_id = None
        for n_scanned, event in enumerate(self._events(query)):
            if len(found) == query.limit or n_scanned == _MOST_SCANNED:
                return AuditPage(events=found, has_more=True, last_id=last_id)
            last_id = event.id
            if query.passes(event):
                found.append(event)
        return AuditPage(events=found, has_more=False, last_id=last_id)

    def _events(self, query: AuditQuery) -> Iterator[AuditEvent]:
        """Events behind the cursor, backwards in time, until ``since``."""
        after = query.after
        if query.until is not None:
            end = f"{_PREFIX}_{int(query.until * 1000):012x}"
            after = end if after is None else min(after, end)
        while page := self._records.list(_PARTITION, "", limit=_PAGE, after=after, descending=True):
            for record in page:
                event = _event(record)
                if query.since is not None and event.effective_at < query.since:
                    return
                yield event
            after = page[-1].place.key


def _event(record: Record) -> AuditEvent:
    value = record.value
    project = value["project"] or (None, None)
    return AuditEvent(
        id=record.place.key,
        type=value["type"],
        effective_at=value["effective_at"],
        actor=Actor(key_id=value["actor"][0], service_account_id=value["actor"][1]),
        details=value["details"],
        project_id=project[0],
        project_name=project[1],
    )
