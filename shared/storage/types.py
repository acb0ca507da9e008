"""Stored completions, queries and pages: the plain data of stores."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Kind = Literal["chat", "text"]

DEFAULT_TENANT = "default"
"""Who owns what is stored where no keys are configured."""


def new_id(prefix: str) -> str:
    """A completion's id, such as ``chatcmpl-019a...``: ids sort by the time they were made.

    12 hexadecimal digits of milliseconds since 1970 and 16 random ones, much like a UUID of
    version 7 (RFC 9562). So a list ordered by id is ordered by time, and a cursor needs no look-up.
    """
    return f"{prefix}-{time.time_ns() // 1_000_000:012x}{os.urandom(8).hex()}"


def id_time(completion_id: str) -> float:
    """When an id was made, in seconds since 1970; raises `ValueError` for ids of others."""
    return int(completion_id.rpartition("-")[2][:12], 16) / 1000


class Place(NamedTuple):
    """What a completion is found by."""

    tenant: str
    kind: Kind
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCompletion:
    """A completion with all that is kept of it.

    ``request`` is the body as it was sent, ``used`` the values that held for fields of it, defaults
    included; ``response`` the whole answer, for streams what they add up to. ``request_id`` is the
    response's ``x-request-id``. ``timings`` has seconds by name. ``is_incomplete``: the client hung
    up before the end. ``served_by``: host of the upstream that answered, None where it was this
    server. ``expires_at``: seconds since 1970, None for never. ``dialect_fields``: what the answer
    shows in the dialect that the request came in, None where that was the one of ``kind``.
    """

    id: str
    kind: Kind
    tenant: str
    created: int
    model: str
    request: Mapping[str, Any]
    response: Mapping[str, Any]
    used: Mapping[str, Any] = field(default_factory=dict)
    request_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    user: str | None = None
    key_id: str | None = None
    is_incomplete: bool = False
    served_by: str | None = None
    expires_at: int | None = None
    dialect_fields: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionQuery:
    """A page of a tenant's completions: those of ``model`` with all pairs of ``metadata``.

    ``after`` is the id that the page follows, in the direction of ``order``. ``since`` (inclusive)
    and ``until`` (exclusive) are seconds since 1970.
    """

    tenant: str
    kind: Kind
    limit: int = 20
    order: Literal["asc", "desc"] = "asc"
    after: str | None = None
    model: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Completions in order, and whether there are more behind them.

    ``damaged`` has the ids, as they can be shown, of those that were passed over on the way to the
    last one, and of those behind it if nothing else is there.
    """

    completions: Sequence[StoredCompletion]
    has_more: bool
    damaged: Sequence[str] = ()
