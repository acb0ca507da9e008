"""Parallel test run: pytest on parts of the test files side by side.

    python -m tests.parts -m unit -k name

For tests that take milliseconds, as those of the logic do: pytest-xdist has each of its workers
collect all tests, and takes two milliseconds of processor time to report one. A part has whole
files, so that what their fixtures start is started once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

_MOST = 4
"""Parts, since each has servers that have models. One more than processors: some tests wait."""


def part_of(path: Path, n_parts: int) -> int:
    """The part that a file is in, beginning with 1: those of many tests are spread evenly."""
    turn = _places()[path] % (2 * n_parts)
    return min(turn, 2 * n_parts - 1 - turn) + 1


@cache
def _places() -> dict[Path, int]:
    """Files in order of their sizes, the largest first."""
    files = sorted(TESTS.rglob("test_*.py"), key=lambda file: (-file.stat().st_size, file))
    return {file: place for place, file in enumerate(files)}


def run(arguments: list[str]) -> int:
    """Run all parts, print what they print one after the other; the worst exit status."""
    n_parts = min((os.cpu_count() or 1) + 1, _MOST)
    command = [sys.executable, "-m", "pytest", *arguments]
    parts = [
        subprocess.Popen(
            [*command, f"--part={number}/{n_parts}"],
            stdout=None if number == 1 else subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for number in range(1, n_parts + 1)
    ]
    statuses = set[int]()
    for part in parts:
        output, _ = part.communicate()
        if output:
            sys.stdout.buffer.write(output)
            sys.stdout.flush()
        statuses.add(part.returncode)
    if statuses == {pytest.ExitCode.NO_TESTS_COLLECTED}:
        return pytest.ExitCode.NO_TESTS_COLLECTED
    return max(statuses - {pytest.ExitCode.NO_TESTS_COLLECTED})


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
