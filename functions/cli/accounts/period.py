"""Periods of reports, in the buckets of time that the API has."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from functions.cli.table import shown_time
from functions.cli.usage_error import UsageError

_MINUTE = 60
_DAY = 86400
_WIDTHS = {"1m": _MINUTE, "1h": 3600, "1d": _DAY}
_LIMITS = {"1m": 1440, "1h": 168, "1d": 31}
"""Buckets of a page at most."""
_NAMES = {"1h": "hours", "1d": "days"}


@dataclass(frozen=True, slots=True)
class Period:
    """From ``start`` to ``end``, in Unix seconds.

    ``width``: of its buckets, None where days will do but for what they don't cover at both ends.
    ``note``: for people, where it is longer than what was asked for.
    """

    start: int
    end: int
    width: str | None
    note: str = ""

    def parts(self, first: int) -> Iterator[dict[str, Any]]:
        """Queries that have all of it together, but what is long before ``first``."""
        start = max(self.start, (first // _DAY - 1) * _DAY)
        for begins, ends, width in self._pieces(start):
            if begins < ends:
                yield {
                    "start_time": begins,
                    "end_time": ends,
                    "bucket_width": width,
                    "limit": _LIMITS[width],
                }

    def _pieces(self, start: int) -> Iterator[tuple[int, int, str]]:
        first_day, end_of_days = _up(start, _DAY), _down(self.end, _DAY)
        if self.width is not None:
            yield start, self.end, self.width
        elif first_day >= end_of_days:
            yield start, self.end, "1m"
        else:
            yield start, first_day, "1m"
            yield first_day, end_of_days, "1d"
            yield end_of_days, self.end, "1m"


def period_of(options: argparse.Namespace) -> Period:
    """The period of ``--since`` and ``--until`` in whole buckets; by default this month."""
    now = datetime.now(UTC)
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    since = options.since.seconds if options.since else month.timestamp()
    tomorrow = _up(now.timestamp(), _DAY)
    until = min(options.until.seconds, tomorrow) if options.until else tomorrow
    if since >= tomorrow:
        raise UsageError("--since is a time to come")
    if since >= until:
        raise UsageError("--until is not after --since")
    width = "1d" if options.command == "costs" else options.bucket
    seconds = _WIDTHS[width or "1m"]
    start, end = max(_down(since, seconds), 0), max(_up(until, seconds), seconds)
    note = ""
    if width in _NAMES and (start, end) != (since, until):
        note = (
            f"{options.command} in whole {_NAMES[width]} (UTC): "
            f"from {shown_time(start)} to {shown_time(end)}"
        )
    return Period(start, end, width, note)


def _down(time: float, width: int) -> int:
    return int(time // width) * width


def _up(time: float, width: int) -> int:
    return -int(-time // width) * width
