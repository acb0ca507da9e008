"""The tables of `docs/failure-drill.md`, and whether they say what happens.

Text in code is a quotation. Words in capitals, such as BUCKET, stand for a name or a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.aws_lambda.drill import Outcome

_PAGE = Path(__file__).parents[2] / "docs" / "failure-drill.md"
_FAILURES = ("failure", "the caller gets", "the log says", "counted in", "do this")
_ANSWERS = ("answer", "message", "headers", "the caller should")
_BORDER = re.compile(r"(?<!\\)\|")
_QUOTATION = re.compile(r"`([^`]+)`")
_PLACEHOLDERS = re.compile(r"\b(?:TABLE|BUCKET|KEY|ID|N)\b")
_ANY_NAME = r"[^\s,:']+"


@dataclass(frozen=True, slots=True)
class Row:
    """A row's quotations, cell by cell."""

    cells: tuple[tuple[str, ...], ...]

    def problems(self, outcome: Outcome) -> list[str]:
        """Where an outcome is not what the row says."""
        told, log, counted = self.cells[1:4]
        return [
            *_differences("the caller gets", told, {outcome.answer, *outcome.told}),
            *_differences("the log says", log, outcome.log),
            *_differences("counted in", counted, outcome.counted),
        ]


def _differences(cell: str, quoted: Iterable[str], found: Iterable[str]) -> list[str]:
    quoted, found = list(quoted), list(found)
    unsaid = [each for each in found if not any(_matches(quote, each) for quote in quoted)]
    untrue = [quote for quote in quoted if not any(_matches(quote, each) for each in found)]
    return [f"{cell}: not on the page: {each}" for each in unsaid] + [
        f"{cell}: not what happens: {quote}" for quote in untrue
    ]


def _matches(quotation: str, text: str) -> bool:
    pattern = _ANY_NAME.join(map(re.escape, _PLACEHOLDERS.split(quotation)))
    return re.fullmatch(pattern, text) is not None


def failures() -> dict[tuple[str, str], Row]:
    """The failures' rows, by the heading that they stand under and the failure's name."""
    found = {}
    for heading, cells in _rows(_FAILURES):
        assert (heading, cells[0]) not in found, cells[0]
        found[heading, cells[0]] = Row(tuple(tuple(_QUOTATION.findall(cell)) for cell in cells))
    return found


def answer_problem(outcome: Outcome) -> str | None:
    """Why the table of answers does not have an error, if it has not."""
    if outcome.message is None:
        return None
    for _, cells in _rows(_ANSWERS):
        [answer], [message], headers, _ = (_QUOTATION.findall(cell) for cell in cells)
        is_code = answer.split()[1] == outcome.answer.split()[1]  # streams have begun with 200
        if is_code and _matches(message, outcome.message):
            said, found = set(headers), {each for each in outcome.told if "retry" in each}
            return None if said == found else f"{answer}: {said} instead of {found}"
    return f"not among the answers: {outcome.answer}: {outcome.message}"


def _rows(header: tuple[str, ...]) -> Iterable[tuple[str, list[str]]]:
    """Headings and cells of all rows of tables with that header."""
    heading = ""
    is_wanted = False
    for line in _PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in _BORDER.split(line)[1:-1]]
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        elif not line.startswith("|"):
            is_wanted = False
        elif tuple(cells) == header:
            is_wanted = True
        elif is_wanted and not set(line) <= set("|-"):
            yield heading, cells
