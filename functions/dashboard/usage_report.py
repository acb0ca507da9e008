"""Usage by day and by model, key or project, of aggregates: no completion is read for it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Literal

from functions.dashboard.charts import Chart, Series, short_number, stacked_bars
from shared.accounts.accounts import Accounts
from shared.accounts.ledger.report import Dimension, ReportQuery, report
from shared.accounts.ledger.usage import Usage
from shared.accounts.limits import NANODOLLARS
from shared.accounts.types import UnknownAccountError

Grouping = Literal["model", "key", "project"]

DAY = 86400
_DIMENSIONS: Mapping[Grouping, Sequence[Dimension]] = {
    "model": ("model",),
    "key": ("project_id", "api_key_id"),
    "project": ("project_id",),
}
_FIRST_YEAR = 1970
_MOST_NAMES = 100
"""Keys whose names are looked up, those used most; further ones are shown by their ids."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What spreadsheets take a cell for a formula by."""


@dataclass(slots=True)
class Group:
    """What was used by one model, key or project, day by day."""

    key: str
    name: str
    by_day: dict[int, Usage] = field(default_factory=dict)
    total: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Usage from ``start`` to ``end`` (Unix seconds of whole days, UTC), and its groups."""

    start: int
    end: int
    groups: Sequence[Group]

    @property
    def days(self) -> range:
        """When each day begins."""
        return range(self.start, self.end, DAY)

    @property
    def total(self) -> Usage:
        """Of all groups."""
        total = Usage()
        for group in self.groups:
            total.add(group.total)
        return total

    def charts(self) -> Sequence[Chart]:
        """Of dollars, tokens and requests."""
        return [
            self._chart("spending", "Spending", lambda u: u.cost, shown_dollars, _short_dollars),
            self._chart(
                "tokens", "Tokens", lambda u: u.prompt + u.completion, _whole, short_number
            ),
            self._chart("requests", "Requests", lambda u: u.requests, _whole, short_number),
        ]

    def _chart(
        self,
        name: str,
        title: str,
        value: Callable[[Usage], int],
        shown: Callable[[int], str],
        tick: Callable[[int], str],
    ) -> Chart:
        labels = [f"{datetime.fromtimestamp(day, UTC):%b %-d}" for day in self.days]
        series = [
            Series(
                group.key,
                group.name,
                [value(group.by_day.get(day, Usage())) for day in self.days],
            )
            for group in self.groups
        ]
        return stacked_bars(name, title, labels, series, shown=shown, tick=tick)

    def csv(self, by: Grouping) -> str:
        """A row for each day and group, with exact dollars."""
        out = io.StringIO()
        rows = csv.writer(out, lineterminator="\r\n")
        rows.writerow(
            [
                *("day", by, "name", "requests", "input_tokens", "cached_input_tokens"),
                *("output_tokens", "dollars"),
            ]
        )
        for day in self.days:
            for group in self.groups:
                if (usage := group.by_day.get(day)) is not None:
                    shown = datetime.fromtimestamp(day, UTC).date().isoformat()
                    cells = [shown, *map(_cell, (group.key, group.name)), usage.requests]
                    tokens = [usage.prompt, usage.cached, usage.completion]
                    rows.writerow([*cells, *tokens, f"{Decimal(usage.cost) / NANODOLLARS:f}"])
        return out.getvalue()


def usage_report(
    accounts: Accounts, project_ids: Sequence[str], by: Grouping, start: int, end: int
) -> UsageReport:
    """The usage of projects; raises `StoreError`."""
    query = ReportQuery(start=start, end=end, width="1d", group_by=_DIMENSIONS[by], filters={})
    groups: dict[tuple[str | None, ...], Group] = {}
    for begins, rows in report(accounts.ledger, project_ids, query):
        for values, usage in rows:
            key = tuple(values.values())
            group = groups.setdefault(key, Group(key[-1] or "", key[-1] or "No key"))
            group.by_day[begins] = usage
            group.total.add(usage)
    ordered = sorted(groups.items(), key=lambda item: (-item[1].total.cost, -_tokens(item[1])))
    if by == "project":
        for _, group in ordered:
            group.name = accounts.projects.get(group.key).name
    elif by == "key":
        for (project_id, key_id), group in ordered[:_MOST_NAMES]:
            if key_id is not None:
                group.name = _key_name(accounts, project_id, key_id)
    return UsageReport(start, end, [group for _, group in ordered])


def day_of(text: str | None) -> int | None:
    """When the day in ``text`` (ISO 8601) begins, in Unix seconds; None where it is none.

    Before 1970 nothing was used, and a year before the first one has no name.
    """
    try:
        day = date.fromisoformat(text or "")
    except ValueError:
        return None
    if day.year < _FIRST_YEAR:
        return None
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def shown_dollars(nanodollars: int) -> str:
    """An amount to the cent, and a small one to its second digit."""
    amount = Decimal(nanodollars) / NANODOLLARS
    if amount == 0 or amount >= 1:
        return f"${amount:,.2f}"
    digits = max(2, 1 - amount.adjusted())
    return f"${amount:.{digits}f}"


def _short_dollars(nanodollars: int) -> str:
    amount = Decimal(nanodollars) / NANODOLLARS
    if amount >= 1000:
        return f"${short_number(int(amount))}"
    return f"${amount.normalize():f}"


def _whole(number: int) -> str:
    return f"{number:,}"


def _tokens(group: Group) -> int:
    return group.total.prompt + group.total.completion


def _key_name(accounts: Accounts, project_id: str | None, key_id: str) -> str:
    try:
        return accounts.keys.get(project_id, key_id).name
    except UnknownAccountError:
        return f"{key_id} (revoked)"


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
