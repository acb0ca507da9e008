"""Projects, service accounts and API keys: the plain data of accounts. Times are Unix seconds."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from shared.accounts.limits import RateLimits

Clock = Callable[[], float]
"""Seconds since 1970."""


class AccountError(Exception):
    """What was asked of an account can't be done; the text says why, to whoever asked.

    ``param``: the field that is wrong, where it is one.
    """

    param: str | None = None


class UnknownAccountError(AccountError):
    """There is no such project, service account or key."""

    def __init__(self, kind: str, account_id: str) -> None:
        super().__init__(f"There is no {kind} '{account_id}'.")


class ArchivedProjectError(AccountError):
    """A project that is archived takes nothing new."""

    def __init__(self, project_id: str) -> None:
        super().__init__(f"The project '{project_id}' is archived.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPermissions:
    """Models that a project may use: those listed, or all that are not."""

    mode: Literal["allow_list", "deny_list"]
    models: Sequence[str]

    def permits(self, names: Sequence[str]) -> bool:
        """Whether a model with these names may be used: one that is listed counts."""
        is_listed = not set(names).isdisjoint(self.models)
        return is_listed == (self.mode == "allow_list")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTiers:
    """Order in the queue that a project may ask for: ``fast`` and ``priority`` are before others.

    ``default``: what requests get that don't ask. ``enabled``: what may be asked for besides
    standard; a lower order always may be.
    """

    default: Literal["standard", "fast", "scale"] = "standard"
    enabled: Literal["all"] | Sequence[str] = ()

    def of(self, asked: str | None) -> str | None:
        """The tier that a request gets."""
        if asked in (None, "auto"):
            asked = "fast" if self.default == "fast" else asked
        if asked in ("fast", "priority") and self.enabled != "all" and "fast" not in self.enabled:
            return "default"
        return asked


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendAlert:
    """Spend alert: a message once a month, when spending has come to ``threshold`` (cents).

    ``recipients`` are e-mail addresses, which go with the message.
    """

    id: str
    threshold: int
    recipients: Sequence[str] = ()
    subject_prefix: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """The organization: what holds for all projects together.

    ``spend_limit``: cents a month, None for no limit.
    """

    spend_limit: int | None = None
    spend_alerts: Sequence[SpendAlert] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A tenant: whoever has one of its keys has what all of them stored and used."""

    id: str
    name: str
    created_at: int
    archived_at: int | None = None
    model_permissions: ModelPermissions | None = None
    rate_limits: Mapping[str, RateLimits] = field(default_factory=dict)
    """By model."""
    spend_limit: int | None = None
    """Cents a month."""
    service_tiers: ServiceTiers = field(default_factory=ServiceTiers)
    spend_alerts: Sequence[SpendAlert] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccount:
    """An owner of a project's keys: a program or a person, as the operator sees fit."""

    id: str
    project_id: str
    name: str
    role: Literal["owner", "member", "none"]
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key without its secret. Admin keys have neither project nor service account.

    ``last_used_at`` is exact to an hour.
    """

    id: str
    name: str
    hash: str
    redacted: str
    created_at: int
    expires_at: int | None = None
    last_used_at: int | None = None
    project_id: str | None = None
    service_account_id: str | None = None

    def is_expired(self, now: float) -> bool:
        """Whether it is accepted no more."""
        return self.expires_at is not None and self.expires_at <= now


class _AccountIds:
    """Ids in the order in which they are made, in one process also within a millisecond."""

    def __init__(self) -> None:
        self._last = (0, 0)
        self._lock = threading.Lock()

    def next(self, milliseconds: int) -> str:
        """The part of an id behind its prefix: time, then 64 random bits or more than the last."""
        with self._lock:
            before, number = self._last
            if milliseconds == before:
                number += 1 + secrets.randbits(32)
            else:
                number = secrets.randbits(63)
            self._last = (milliseconds, number)
        return f"{milliseconds:012x}{number:016x}"


_ids = _AccountIds()


def new_account_id(prefix: str, clock: Clock = time.time) -> str:
    """An id such as ``proj_019a...``: ids sort by the time they were made, as completions' do.

    The audit log's order is that of its ids, and one request makes several events.
    """
    return f"{prefix}_{_ids.next(int(clock() * 1000))}"
