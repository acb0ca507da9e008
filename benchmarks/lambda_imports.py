"""What the functions' imports cost, by package: ``python -X importtime``, on one thread."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_LINE = re.compile(r"import time: +(\d+) \| +\d+ \| *(\S+)")
_OWN = ("functions", "shared")

_BEGINNING = "import gc; gc.disable(); import awslambdaric.bootstrap"

INFERENCE = (
    f"{_BEGINNING}, functions.aws_lambda.initialization, shared.runtime.loader, "
    "shared.runtime.served_model, shared.models.s3.source, functions.http.app, "
    "functions.aws_lambda.buffered_handler, "
    "functions.aws_lambda.model_start, functions.aws_lambda.snapshot_hooks, "
    "functions.aws_lambda.telemetry, functions.aws_lambda.time_limit, shared.runtime.deadline"
)
"""What `functions.aws_lambda.inference_handler` imports on both threads, one after the other."""
API = (
    f"{_BEGINNING}, functions.aws_lambda.initialization, functions.http.api_app, "
    "functions.aws_lambda.buffered_handler, functions.aws_lambda.snapshot_hooks, "
    "functions.aws_lambda.telemetry"
)
"""What `functions.aws_lambda.api_handler` imports."""
ALL = (INFERENCE, API)

CPU = "all: the process's CPU time"
"""The row that other processes on the machine disturb least; with the interpreter's own start."""


def milliseconds(
    python: str, root: Path, environment: Mapping[str, str], code: str
) -> dict[str, float]:
    """What each package, and `CPU`, took in one process that runs ``code`` in ``root``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = subprocess.run(
        [python, "-X", "importtime", "-c", code],
        check=True,
        stderr=subprocess.PIPE,
        text=True,
        cwd=root,
        env=environment,
    ).stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = {CPU: 1000 * cpu}
    for microseconds, module in _LINE.findall(output):
        package = _package(module)
        found[package] = found.get(package, 0.0) + int(microseconds) / 1000
    return found


def _package(module: str) -> str:
    """The package's name, or what all modules of a kind are called together."""
    top = module.partition(".")[0]
    if top in _OWN:
        return "pilotlight"
    return "standard library" if top in sys.stdlib_module_names else top
