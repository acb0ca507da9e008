"""Available processors: how many threads of this process can compute at the same time."""

from __future__ import annotations

import os
from collections.abc import Mapping

from shared.host.memory import LAMBDA_SIZE

_LAMBDA_PROCESSOR = 1769
"""MiB of a Lambda function for which it gets one processor's time.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""


def host_processors(environment: Mapping[str, str] = os.environ) -> int:
    """Processors that this process may use, one at least.

    A Lambda function sees more than its memory pays for (two with 1,769 MB) and is stopped when it
    has used its share. llama.cpp's threads wait for each other by spinning, at the cost of that
    share: with two on one processor's, a token took a quarter longer than with one.
    """
    size = environment.get(LAMBDA_SIZE, "")
    if not size.isdigit():
        return _visible()
    return max(1, min(_visible(), round(int(size) / _LAMBDA_PROCESSOR)))


def _visible() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
