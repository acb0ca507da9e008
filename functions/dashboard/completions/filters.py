"""Filters of a list of completions: from a page's URL and back, so that a view is a link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import QueryParams

from shared.storage.id_range import PREFIXES
from shared.storage.types import CompletionQuery, Kind, StoredCompletion

FINISH_REASONS = ("stop", "length", "tool_calls", "function_call", "content_filter")
INCOMPLETE = "incomplete"
"""Of completions whose client disconnected; shown with the finish reasons."""

_MAX_PAIRS = 16
_LONGEST = 512
"""Characters of a value."""
_LONGEST_CURSOR = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a list is narrowed to, as the URL says it; empty texts for what it does not.

    - ``since``, ``until``: UTC, as browsers' fields write times.
    - ``after``, ``before``: ids that the page is older or newer than.
    - ``problems``: what can't be understood, in words.
    """

    project: str = ""
    kind: Kind = "chat"
    model: str = ""
    key: str = ""
    finish: str = ""
    since: str = ""
    until: str = ""
    metadata: Sequence[tuple[str, str]] = ()
    after: str = ""
    before: str = ""
    problems: Sequence[str] = field(default=())

    @classmethod
    def of(cls, sent: QueryParams) -> Filters:
        """By the parameters of a URL; what is not understood is a problem, not an error."""
        values = {
            name: sent.get(name, "").strip()[:_LONGEST]
            for name in ("project", "model", "key", "finish", "since", "until")
        }
        kind: Kind = "text" if sent.get("kind") == "text" else "chat"
        problems = []
        pairs = []
        for text in sent.getlist("metadata")[:_MAX_PAIRS]:
            name, equals, value = text[:_LONGEST].strip().partition("=")
            if equals and name:
                pairs.append((name.strip(), value.strip()))
            elif text.strip():
                problems.append(f"Metadata is written key=value, but this is not: {text[:60]}")
        problems += [
            f"This is no time: {values[name][:60]}"
            for name in ("since", "until")
            if values[name] and _seconds(values[name]) is None
        ]
        cursors = {}
        for name in ("after", "before"):
            cursor = sent.get(name, "")
            if cursor and (
                not cursor.startswith(f"{PREFIXES[kind]}-") or len(cursor) > _LONGEST_CURSOR
            ):
                problems.append("This link to a page is broken.")
                cursor = ""
            cursors[name] = cursor
        made: dict[str, Any] = {**values, **cursors}
        return cls(kind=kind, metadata=tuple(pairs), problems=tuple(problems), **made)

    @property
    def is_scanned(self) -> bool:
        """Whether no index has what is asked for: completions are read, and some left out."""
        return bool(self.key or self.finish)

    @property
    def is_narrowed(self) -> bool:
        """Whether anything is left out."""
        return bool(
            self.model or self.key or self.finish or self.since or self.until or self.metadata
        )

    def query(self, tenant: str, limit: int, *, model: str | None = None) -> CompletionQuery:
        """The store's query, newest first, or oldest first behind ``before``.

        ``model``: the name that the completions have, where another one was asked for.
        """
        return CompletionQuery(
            tenant=tenant,
            kind=self.kind,
            limit=limit,
            order="asc" if self.before else "desc",
            after=self.before or self.after or None,
            model=model or self.model or None,
            metadata=dict(self.metadata),
            since=_seconds(self.since),
            until=_seconds(self.until),
        )

    def matches(self, completion: StoredCompletion) -> bool:
        """Whether a completion has what no index has."""
        if self.key and completion.key_id != self.key:
            return False
        if self.finish == INCOMPLETE:
            return completion.is_incomplete
        return not self.finish or self.finish in finish_reasons(completion)

    def parameters(self, **changes: str) -> dict[str, object]:
        """Parameters of a URL of this view, or of one with ``changes``; of no page of it."""
        values: dict[str, object] = {
            name: getattr(self, name)
            for name in ("project", "kind", "model", "key", "finish", "since", "until")
        }
        values["kind"] = "" if self.kind == "chat" else self.kind
        values["metadata"] = [f"{name}={value}" for name, value in self.metadata]
        return values | changes

    def chips(self, keys: Mapping[str, str]) -> list[tuple[str, str, dict[str, object]]]:
        """Each filter: its name, its value, and the parameters of the view without it."""
        named = [
            ("Model", "model", self.model),
            ("Key", "key", keys.get(self.key, self.key)),
            ("Finished", "finish", self.finish),
            ("From", "since", self.since.replace("T", " ")),
            ("Until", "until", self.until.replace("T", " ")),
        ]
        chips = [
            (label, value, self.parameters(**{name: ""})) for label, name, value in named if value
        ]
        for pair in self.metadata:
            others = tuple(each for each in self.metadata if each != pair)
            chips.append((pair[0], pair[1], replace(self, metadata=others).parameters()))
        return chips


def finish_reasons(completion: StoredCompletion) -> list[str]:
    """Why each choice has ended, as far as that is stored."""
    choices = completion.response.get("choices")
    reasons = [
        choice.get("finish_reason")
        for choice in (choices if isinstance(choices, list) else ())
        if isinstance(choice, Mapping)
    ]
    return [reason for reason in reasons if isinstance(reason, str)]


def _seconds(text: str) -> float | None:
    """A time of the browser's field, which knows no zone: UTC. None if it is none."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return None
