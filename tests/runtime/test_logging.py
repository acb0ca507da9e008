"""Lines of the log."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import pytest
from uvicorn.logging import TRACE_LOG_LEVEL

from shared.runtime.logging import LineFormatter

PLAIN = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")


def record(created: float = 1_700_000_000.25, **fields: Any) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "pilotlight.access", "levelname": "INFO", **fields})
    made.created, made.msecs = created, (created % 1) * 1000
    return made


def traceback() -> Any:
    try:
        raise ValueError("no")
    except ValueError:
        return sys.exc_info()


@pytest.mark.parametrize(
    "fields",
    [
        {"msg": "a line"},
        {"msg": "%s %d", "args": ("/v1/completions", 200)},
        {"msg": "100 %"},
        {"msg": "two\nlines"},
        {"msg": "it failed", "exc_info": True},
        {"msg": "it failed", "exc_text": "Traceback"},
        {"msg": "here", "stack_info": "Stack"},
    ],
)
def test_lines_are_those_of_pythons_formatter(fields: dict[str, Any]) -> None:
    if "exc_info" in fields:
        fields = {**fields, "exc_info": traceback()}
    assert LineFormatter().format(record(**fields)) == PLAIN.format(record(**fields))


def test_each_line_has_its_own_moment() -> None:
    formatter = LineFormatter()
    start = 1_700_000_000.0
    for moment in (start, start + 0.001, start + 0.999, start + 1, start + 3600.5, start - 1):
        line = record(moment, msg="a line")
        assert formatter.format(line) == PLAIN.format(record(moment, msg="a line"))


@pytest.mark.usefixtures("processes")
def test_uvicorn_traces_no_connections() -> None:
    """It looks at the level of just this logger, and below 6 it makes a line for each of them."""
    code = (
        "import logging; from shared.runtime.logging import configure_logging; "
        "configure_logging('debug'); print(logging.getLogger('uvicorn.error').level)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert int(found.stdout) > TRACE_LOG_LEVEL
