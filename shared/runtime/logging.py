"""Logging of a process to standard error, one line per event; Lambda's is JSON."""

from __future__ import annotations

import logging
import sys


def configure_logging(level: str) -> None:
    """Log to standard error, one line per event."""
    # Nothing here is logged with them, and every record would collect them; nor with the place in
    # the code, for which each line would look through its callers' frames.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    vars(logging)["_srcfile"] = None  # https://docs.python.org/3/howto/logging.html#optimization
    logging.basicConfig(
        level=level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    for noisy in ("uvicorn", "httpx2", "huggingface_hub"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
