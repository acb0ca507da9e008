"""What `benchmarks.lambda_probe` wrote: the phases of a function's start, and their medians."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_MAIN = "MainThread"


@dataclass(frozen=True, slots=True)
class Phase:
    """Times in seconds; ``began`` counts from the start of the process, ``cpu`` is its thread's."""

    name: str
    is_main: bool
    began: float
    seconds: float
    cpu: float


def read(path: Path, started: float) -> list[Phase]:
    """The phases of one process, by their beginnings.

    ``started`` is when the process was, on `time.monotonic`'s clock. What bears the same name
    counts as one, from the first one's beginning.
    """
    found: dict[str, Phase] = {}
    for line in path.read_text().splitlines():
        name, thread, began, ended, cpu = line.split("\t")
        seconds = float(ended) - float(began)
        phase = Phase(name, thread == _MAIN, float(began) - started, seconds, float(cpu))
        if name == "interpreter":
            phase = Phase(name, True, 0.0, phase.began, phase.cpu)
        if earlier := found.get(name):
            phase = Phase(
                name,
                earlier.is_main,
                min(earlier.began, phase.began),
                earlier.seconds + phase.seconds,
                earlier.cpu + phase.cpu,
            )
        found[name] = phase
    return sorted(found.values(), key=lambda phase: phase.began)


def medians(runs: Sequence[Sequence[Phase]]) -> list[Phase]:
    """Each phase's medians over all runs."""
    names = [phase.name for phase in runs[0]]
    median = [_median([p for run in runs for p in run if p.name == name]) for name in names]
    return sorted(median, key=lambda phase: phase.began)


def _median(phases: Sequence[Phase]) -> Phase:
    return Phase(
        phases[0].name,
        phases[0].is_main,
        statistics.median(phase.began for phase in phases),
        statistics.median(phase.seconds for phase in phases),
        statistics.median(phase.cpu for phase in phases),
    )
