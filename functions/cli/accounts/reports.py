"""``pilotlight usage`` and ``pilotlight costs``: reports as tables, JSON and CSV."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from functions.cli.accounts.administration import Administration
from functions.cli.accounts.money import dollars, shown_dollars
from functions.cli.accounts.output import print_json
from functions.cli.accounts.period import Period, period_of
from functions.cli.accounts.projects import find_project
from functions.cli.table import print_rows, shown_time

_DIMENSIONS = {
    "project": "project_id",
    "key": "api_key_id",
    "model": "model",
    "user": "user_id",
    "tier": "service_tier",
    "line-item": "line_item",
}
"""What ``--by`` says, and the API's names of it."""

Number = int | Decimal


@dataclass(frozen=True, slots=True)
class _Column:
    """A number of each row: its field of the API, its heading in CSV and in tables."""

    name: str
    header: str
    title: str
    value: Callable[[Mapping[str, Any]], Number]
    shown: Callable[[Any], str] = str


_USAGE = tuple(
    _Column(name, header, title, lambda result, name=name: result[name])  # type: ignore[misc]
    for name, header, title in (
        ("num_model_requests", "requests", "requests"),
        ("input_tokens", "input_tokens", "input tokens"),
        ("input_cached_tokens", "cached_input_tokens", "of them cached"),
        ("output_tokens", "output_tokens", "output tokens"),
    )
)
_QUANTITY = _Column("quantity", "tokens", "tokens", lambda result: result["quantity"])
_AMOUNT = _Column(
    "amount", "dollars", "dollars", lambda result: dollars(result["amount"]), shown_dollars
)


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a report: when, the values of its dimensions, and its numbers."""

    start: int
    end: int
    values: tuple[str | None, ...]
    numbers: list[Number]


def usage(admin: Administration, options: argparse.Namespace) -> None:
    """Requests and tokens."""
    _report(admin, options, ("usage", "completions"), _USAGE)


def costs(admin: Administration, options: argparse.Namespace) -> None:
    """What usage has cost, which is an invoice by line items."""
    columns = (_QUANTITY, _AMOUNT) if "line-item" in options.by else (_AMOUNT,)
    _report(admin, options, ("costs",), columns)


def _report(
    admin: Administration,
    options: argparse.Namespace,
    path: Sequence[str],
    columns: Sequence[_Column],
) -> None:
    projects = list(admin.items("projects", include_archived=True))
    chosen = projects
    if options.project is not None:
        chosen = [find_project(admin, options.project, projects)]
    period = period_of(options)
    if period.note:
        print(f"pilotlight: note: {period.note}", file=sys.stderr)
    asked: dict[str, Any] = {"group_by[]": [_DIMENSIONS[name] for name in options.by]}
    if options.project is not None:
        asked["project_ids[]"] = [chosen[0]["id"]]
    rows: dict[tuple[int, tuple[str | None, ...]], _Row] = {}
    first = min((project["created_at"] for project in chosen), default=None)
    for begins, ends, result in _results(admin, path, period, first, asked):
        values = tuple(result[_DIMENSIONS[name]] for name in options.by)
        start, end = (begins, ends) if options.bucket else (period.start, period.end)
        row = rows.setdefault((start, values), _Row(start, end, values, [0] * len(columns)))
        for number, column in enumerate(columns):
            row.numbers[number] += column.value(result)
    ordered = sorted(rows.values(), key=lambda row: (row.start, [v or "" for v in row.values]))
    if options.json:
        print_json([_object(row, options.by, columns) for row in ordered])
        return
    names = {project["id"]: project["name"] for project in projects}
    if options.csv:
        _print_csv(ordered, options.by, columns, names)
    else:
        _print_table(ordered, options, period, columns, names)


def _results(
    admin: Administration,
    path: Sequence[str],
    period: Period,
    first: int | None,
    asked: Mapping[str, Any],
) -> Iterator[tuple[int, int, Mapping[str, Any]]]:
    """Begin, end and result of what is in a period. ``first``: when the first project began."""
    if first is None:
        return
    for part in period.parts(first):
        query = {**asked, **part}
        if path == ("costs",):
            del query["bucket_width"]
        for bucket in admin.buckets(*path, **query):
            for result in bucket["results"]:
                yield bucket["start_time"], bucket["end_time"], result


def _object(row: _Row, by: Sequence[str], columns: Sequence[_Column]) -> dict[str, Any]:
    """A row with the API's names and types."""
    numbers: dict[str, Any] = {
        column.name: {"value": float(number), "currency": "usd"} if column is _AMOUNT else number
        for column, number in zip(columns, row.numbers, strict=True)
    }
    values = dict(zip((_DIMENSIONS[name] for name in by), row.values, strict=True))
    return {"start_time": row.start, "end_time": row.end, **values, **numbers}


def _print_csv(
    rows: Sequence[_Row], by: Sequence[str], columns: Sequence[_Column], names: Mapping[str, str]
) -> None:
    """RFC 4180. Projects have two columns, since names change."""
    writer = csv.writer(sys.stdout)
    headers = [
        header
        for name in by
        for header in (("project_id", "project") if name == "project" else (_DIMENSIONS[name],))
    ]
    writer.writerow(["start", "end", *headers, *(column.header for column in columns)])
    for row in rows:
        values: list[str] = []
        for name, value in zip(by, row.values, strict=True):
            values.append(value or "")
            if name == "project":
                values.append(names.get(value or "", ""))
        times = (datetime.fromtimestamp(time, UTC) for time in (row.start, row.end))
        writer.writerow(
            [
                *(f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in times),
                *values,
                *(c.shown(number) for c, number in zip(columns, row.numbers, strict=True)),
            ]
        )


def _print_table(
    rows: Sequence[_Row],
    options: argparse.Namespace,
    period: Period,
    columns: Sequence[_Column],
    names: Mapping[str, str],
) -> None:
    """With totals."""
    when = f"from {shown_time(period.start)} to {shown_time(period.end)} (UTC)"
    if not rows:
        print(f"no {options.command} {when}", file=sys.stderr)
        return
    cells: list[list[str]] = []
    for row in rows:
        values = [
            names.get(value or "", value or "-") if name == "project" else value or "-"
            for name, value in zip(options.by, row.values, strict=True)
        ]
        begins = [shown_time(row.start)] if options.bucket else []
        numbers = [c.shown(n) for c, n in zip(columns, row.numbers, strict=True)]
        cells.append([*begins, *values, *numbers])
    titles = ["begins (UTC)"] * bool(options.bucket) + list(options.by)
    if titles:
        totals = [
            column.shown(sum(row.numbers[number] for row in rows))
            for number, column in enumerate(columns)
        ]
        cells.append(["total", *[""] * (len(titles) - 1), *totals])
    print(f"{options.command} {when}\n")
    print_rows((*titles, *(c.title for c in columns)), cells, numbers=len(columns))
