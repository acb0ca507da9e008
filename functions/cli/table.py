"""Tables in the terminal, of texts that are other people's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

_UNLIMITED = 100_000
"""Columns of an output that is no terminal: nothing is cut off in files and pipes."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Characters that a terminal obeys instead of showing them."""


def new_console() -> Console:
    """Standard output, with its width where it is a terminal."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=_UNLIMITED)


def new_table() -> Table:
    """A table without lines around it."""
    return Table(box=None, pad_edge=False, header_style="bold")


def print_table(table: Table) -> None:
    """Print a table."""
    console = new_console()
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().rstrip("\n").split("\n"):
        print(line.rstrip())  # tables fill their last column with spaces


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int = 0) -> None:
    """Print a table of ``rows`` whose first cells are never broken. The last are ``numbers``."""
    table = new_table()
    for n, column in enumerate(columns):
        is_number = n >= len(columns) - numbers
        table.add_column(
            column,
            no_wrap=n == 0 or is_number,
            overflow="fold",
            justify="right" if is_number else "left",
        )
    for row in rows:
        table.add_row(*(Text(safe(cell)) for cell in row))
    print_table(table)


def shown_time(seconds: int | None) -> str:
    """A time in UTC, empty for none."""
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def safe(text: str) -> str:
    """``text`` with control characters made visible."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
