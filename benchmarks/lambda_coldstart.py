"""How long Lambda's functions take from the start of a process to the first token, and with what.

``python -m benchmarks.lambda_coldstart`` starts the entry points as Lambda does: with the real
runtime client against a server that speaks the Runtime API, and by the real start script. The model
comes from a server on the loopback that speaks S3 (see `benchmarks.object_server`). What is on
Lambda's side is missing: the start of a machine, a network, the pages of a restored snapshot.
``LAMBDA_TASK_ROOT`` and ``LAMBDA_PYTHON`` name a built package and its Python.
"""

from __future__ import annotations

import argparse
import base64
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks import lambda_imports, lambda_phases
from benchmarks.lambda_phases import Phase
from benchmarks.lambda_starts import Start, Starts
from benchmarks.machine import describe
from benchmarks.make_model import ensure_model, model_path
from benchmarks.process import HOST
from shared.models.s3.crc import CRC64NVME, Crc
from tests.aws_lambda.function import PYTHON, TASK_ROOT, environment

_SOURCE = "s3://bucket/model.gguf"
_SHOWN = 3.0
"""Milliseconds from which on a package has a row of its own."""


def main() -> None:
    """Measure, and print tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="the tables give medians")
    parser.add_argument("--model", type=Path, default=model_path())
    parser.add_argument("--rate", type=float, default=0, help="MB/s of each connection to 'S3'")
    parser.add_argument("--delay", type=float, default=0, help="ms to each of its first bytes")
    options = parser.parse_args()
    if options.model == model_path():
        ensure_model()
    print(_description())
    with (
        tempfile.TemporaryDirectory() as directory,
        _objects(options.model, options.rate, options.delay) as url,
    ):
        environ = {"PILOTLIGHT_MODEL": _SOURCE, "AWS_ENDPOINT_URL_S3": url}
        _measure(Starts(Path(directory), environ), options.rounds)


def _measure(starts: Starts, rounds: int) -> None:
    variants = {
        "InferenceFunction, buffered": starts.inference,
        "InferenceFunction, streaming": starts.streaming,
        "InferenceFunction, buffered, restored": starts.restored,
        "ApiFunction": starts.api,
    }
    found: dict[str, list[Start]] = {name: [] for name in variants}
    phases: list[list[Phase]] = []
    imports: dict[str, list[dict[str, float]]] = {code: [] for code in lambda_imports.ALL}
    for number in range(rounds):
        for name, start in variants.items():
            found[name].append(start())
            print(f"round {number + 1}: {name}: {found[name][-1]}", file=sys.stderr, flush=True)
        phases.append(starts.phases())
        for code, runs in imports.items():
            runs.append(lambda_imports.milliseconds(PYTHON, TASK_ROOT, environment(), code))
    print(_starts_table(found))
    print(_phases_table(lambda_phases.medians(phases)))
    print(_imports_table(*map(_least, imports.values())))


def _starts_table(found: dict[str, list[Start]]) -> str:
    """Medians of each function's start."""
    lines = [
        "| | init, s | its CPU, s | first request, s | its CPU, s | second request, s |",
        "|---|---|---|---|---|---|",
    ]
    for name, starts in found.items():
        columns = zip(
            *((s.init, s.init_cpu, s.first, s.first_cpu, s.second) for s in starts), strict=True
        )
        lines.append(f"| {name} | " + " | ".join(f"{median(c):.2f}" for c in columns) + " |")
    return "\n".join(lines) + "\n"


def _phases_table(phases: Sequence[Phase]) -> str:
    """Phases contain others; the model's thread and the main thread run at the same time."""
    lines = [
        "| phase | thread | begins, ms | takes, ms | its thread's CPU, ms |",
        "|---|---|---|---|---|",
    ]
    for phase in phases:
        times = (phase.began, phase.seconds, phase.cpu)
        cells = " | ".join(f"{1000 * seconds:.0f}" for seconds in times)
        lines.append(f"| {phase.name} | {'main' if phase.is_main else 'model'} | {cells} |")
    return "\n".join(lines) + "\n"


def _imports_table(inference: dict[str, float], api: dict[str, float]) -> str:
    """Milliseconds of imports, by package."""
    lines = ["| import of | InferenceFunction, ms | ApiFunction, ms |", "|---|---|---|"]
    names = sorted({*inference, *api}, key=lambda name: inference.get(name, 0.0))
    for name in reversed(names):
        took = inference.get(name, 0.0), api.get(name, 0.0)
        if max(took) >= _SHOWN:
            lines.append(f"| {name} | {took[0]:.0f} | {took[1]:.0f} |")
    share = api[lambda_imports.CPU] / inference[lambda_imports.CPU]
    lines.append(f"| share of InferenceFunction's CPU time | | {share:.2f} |")
    return "\n".join(lines) + "\n"


def _least(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """What each package took at least: disturbances only add to it."""
    names = {name for run in runs for name in run}
    return {name: min(run.get(name, 0.0) for run in runs) for name in names}


@contextmanager
def _objects(model: Path, rate: float, delay: float) -> Iterator[str]:
    """An S3 with nothing but the model; gives its URL."""
    command = [sys.executable, "-m", "benchmarks.object_server", str(model)]
    command += ["--rate", str(rate), "--delay", str(delay), "--checksum", _checksum(model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://{HOST}:{int(process.stdout.readline())}"
        finally:
            process.kill()


def _checksum(model: Path) -> str:
    """CRC-64/NVME as S3 writes it."""
    crc = Crc(CRC64NVME)
    with model.open("rb") as file:
        while block := file.read(2**20):
            crc.update(memoryview(block))
    return base64.b64encode(crc.digest()).decode()


def _description() -> str:
    version = subprocess.run([PYTHON, "-V"], check=True, capture_output=True, text=True).stdout
    facts = describe(threads=0)
    names = ("CPU", "cores", "memory", "load average before")
    shown = ", ".join(f"{name}: {facts[name]}" for name in names)
    package = "a built package" if "LAMBDA_TASK_ROOT" in os.environ else "the source tree"
    return f"{shown}; {version.strip()}, {package}\n"


if __name__ == "__main__":
    main()
