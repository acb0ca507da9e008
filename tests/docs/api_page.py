"""The tables of docs/api.md, read as data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")

Status = Literal["supported", "in part", "no effect", "refused", "absent", "null"]

_TABLE = re.compile(r"<!-- rows: (?P<surfaces>[^\n]+) -->\n(?P<table>.*?)\n<!-- end -->", re.DOTALL)
_HERE = re.compile(
    r"(?P<status>[a-z ]+)(?:: (?P<error>\d+) `(?P<code>\w+)` at `(?P<param>[^`]+)`)?"
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The error that a field gets."""

    status: int
    code: str
    param: str


@dataclass(frozen=True, slots=True)
class Row:
    """What the page says of one field.

    ``surface`` is a kind of request or response: ``chat.request``; with a plus what OpenAI's types
    do not have in it. ``range`` is None where the table has no such column. ``line`` is all of it.
    """

    surface: str
    path: str
    status: Status
    refusal: Refusal | None
    range: str | None
    line: str

    @property
    def key(self) -> str:
        """What tests call the row by."""
        return f"{self.surface} {self.path}"

    @property
    def has_all_inside(self) -> bool:
        """Whether the row speaks for everything in the field, too."""
        return self.path.endswith("…")

    def covers(self, path: str) -> bool:
        """Whether the row speaks for the field at ``path``."""
        pattern = re.escape(self.path.removesuffix("…")).replace(r"\[\*\]", r"\[\w+\]")
        rest = r"(?:[.\[].*)?" if self.has_all_inside else ""
        return re.fullmatch(pattern + rest, path) is not None


def rows(*surfaces: str) -> list[Row]:
    """The rows of some surfaces, one for each field; of all of them by default."""
    return [row for row in _ROWS if not surfaces or row.surface in surfaces]


def _rows() -> Iterator[Row]:
    for table in _TABLE.finditer(PAGE):
        head, _, *lines = table["table"].splitlines()
        columns = _cells(head)
        for line in lines:
            cells = dict(zip(columns, _cells(line), strict=True))
            here = _HERE.fullmatch(cells["here"])
            assert here, f"what does {cells['here']!r} mean?"
            status: Status = here["status"]  # type: ignore[assignment]
            refusal = (
                Refusal(int(here["error"]), here["code"], here["param"]) if here["error"] else None
            )
            for surface in table["surfaces"].split():
                for path in re.findall(r"`([^`]+)`", cells["field"]):
                    yield Row(surface, path, status, refusal, cells.get("range"), line)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


_ROWS = list(_rows())
