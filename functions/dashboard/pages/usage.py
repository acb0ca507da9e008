"""Usage page: tokens, requests and dollars per day, by model, key or project; also as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import get_args

from starlette.responses import Response

from functions.dashboard.handling import PageRequest
from functions.dashboard.usage_report import (
    DAY,
    Grouping,
    UsageReport,
    day_of,
    shown_dollars,
    usage_report,
)
from shared.accounts.accounts import Accounts
from shared.accounts.types import Project

_DEFAULT_DAYS = 30
_PRESETS = (7, 30, 90)
_MOST_DAYS = 366


@dataclass(frozen=True, slots=True)
class _View:
    """What the URL asks for; days begin at ``start`` and end at ``end``, in Unix seconds."""

    by: Grouping
    start: int
    end: int
    project: str | None

    @property
    def first(self) -> str:
        """The first day."""
        return _day(self.start)

    @property
    def last(self) -> str:
        """The last day."""
        return _day(self.end - DAY)

    @property
    def n_days(self) -> int:
        """How many."""
        return (self.end - self.start) // DAY


async def show_usage(page: PageRequest) -> Response:
    """Charts with their tables."""
    if not _is_counted(page):
        return await page.render("usage.html", report=None, view=None)
    view = _view(page)
    projects, report = await page.state.stores.in_accounts(
        lambda accounts: _read(accounts, page, view)
    )
    today = int(page.state.clock()) // DAY * DAY
    return await page.render(
        "usage.html",
        report=report,
        view=view,
        projects=projects,
        groupings=_groupings(page),
        charts=report.charts(),
        total=report.total,
        shown_dollars=shown_dollars,
        presets=[
            (days, page.url("usage", **_query(view, _day(today - (days - 1) * DAY), _day(today))))
            for days in _PRESETS
        ],
        is_preset=lambda days: view.n_days == days and view.end == today + DAY,
        csv_url=page.url("usage.csv", **_query(view, view.first, view.last)),
        today=_day(today),
    )


async def download_usage(page: PageRequest) -> Response:
    """The same as CSV."""
    view = _view(page)
    if not _is_counted(page):
        text = UsageReport(view.start, view.end, []).csv(view.by)
    else:
        _, report = await page.state.stores.in_accounts(
            lambda accounts: _read(accounts, page, view)
        )
        text = report.csv(view.by)
    name = f"usage-by-{view.by}-{view.first}-{view.last}.csv"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)


def _is_counted(page: PageRequest) -> bool:
    """Whether there are accounts, and the viewer is somebody of them."""
    viewer = page.viewer
    return page.state.settings.accounts and (viewer.is_admin or viewer.project is not None)


def _groupings(page: PageRequest) -> Sequence[Grouping]:
    return get_args(Grouping) if page.viewer.is_admin else ("model", "key")


def _view(page: PageRequest) -> _View:
    """The view of a URL; what is missing or wrong in it is as by default."""
    asked = page.request.query_params
    groupings = _groupings(page)
    by: Grouping = next((each for each in groupings if each == asked.get("by")), groupings[0])
    today = int(page.state.clock()) // DAY * DAY
    last = day_of(asked.get("until"))
    last = today if last is None else min(last, today)
    first = day_of(asked.get("from"))
    if first is None or first > last:
        first = last - (_DEFAULT_DAYS - 1) * DAY
    first = max(first, last - (_MOST_DAYS - 1) * DAY)
    project = page.viewer.project
    return _View(by, first, last + DAY, asked.get("project") if project is None else project.id)


def _read(
    accounts: Accounts, page: PageRequest, view: _View
) -> tuple[Sequence[Project], UsageReport]:
    """Projects to choose from, and the report. A project's key has its own project's, whatever
    the URL says."""
    project = page.viewer.project
    projects = (
        [project] if project is not None else list(accounts.projects.all(include_archived=True))
    )
    ids = [each.id for each in projects if view.project in (None, "", each.id)]
    return projects, usage_report(accounts, ids, view.by, view.start, view.end)


def _query(view: _View, first: str, last: str) -> dict[str, object]:
    return {"from_": first, "until": last, "by": view.by, "project": view.project}


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
