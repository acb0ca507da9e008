"""Usage and cost reports: buckets of time, filters and groups over all projects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from shared.accounts.ledger.ledger import Ledger
from shared.accounts.ledger.usage import Group, Usage

Dimension = Literal["project_id", "user_id", "api_key_id", "model", "service_tier"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)

Row = tuple[Mapping[Dimension, str | None], Usage]
"""What is summed up, by the dimensions that were asked for."""

WIDTHS: Mapping[str, int] = {"1m": 60, "1h": 3600, "1d": 86400}
"""Seconds of a bucket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportQuery:
    """Which usage, and how it is summed up. Empty filters let all pass."""

    start: int
    end: int
    width: Literal["1m", "1h", "1d"]
    group_by: Sequence[Dimension] = ()
    filters: Mapping[Dimension, Sequence[str]]

    @property
    def seconds(self) -> int:
        """Of a bucket."""
        return WIDTHS[self.width]

    @property
    def first(self) -> int:
        """When the bucket of ``start`` begins."""
        return self.start // self.seconds * self.seconds


def report(
    ledger: Ledger, project_ids: Sequence[str], query: ReportQuery
) -> Iterator[tuple[int, list[Row]]]:
    """Each bucket from ``start`` to ``end``, empty ones too, with its rows."""
    rows: dict[int, dict[tuple[str | None, ...], Usage]] = {}
    for project_id in project_ids:
        kind: Literal["m", "d"] = "d" if query.width == "1d" else "m"
        for begins, groups in ledger.usage(project_id, kind, query.first, query.end).items():
            bucket = rows.setdefault(begins // query.seconds * query.seconds, {})
            for group, usage in groups.items():
                values = _values(project_id, group)
                if all(values[name] in wanted for name, wanted in query.filters.items() if wanted):
                    key = tuple(values[name] for name in query.group_by)
                    bucket.setdefault(key, Usage()).add(usage)
    for begins in range(query.first, query.end, query.seconds):
        found = sorted(
            rows.get(begins, {}).items(), key=lambda row: [each or "" for each in row[0]]
        )
        yield begins, [(dict(zip(query.group_by, key, strict=True)), usage) for key, usage in found]


def _values(project_id: str, group: Group) -> Mapping[Dimension, str | None]:
    return {
        "project_id": project_id,
        "user_id": group.user,
        "api_key_id": group.key_id,
        "model": group.model,
        "service_tier": group.tier,
    }
