"""Logging of a process to standard error, one line per event; Lambda's is JSON."""

from __future__ import annotations

import logging
import sys
import time

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class LineFormatter(logging.Formatter):
    """Lines of the log as `logging.Formatter` writes them, in less time: each request has one.

    Date and time are made once a second, and a line without a traceback is one expression.
    """

    def __init__(self) -> None:
        super().__init__(_FORMAT)
        self._second: tuple[int, str] = (-1, "")

    def format(self, record: logging.LogRecord) -> str:
        """The line; with a traceback several."""
        if record.exc_info or record.exc_text or record.stack_info:
            return super().format(record)
        second, shown = self._second
        if second != int(record.created):
            second = int(record.created)
            shown = time.strftime(self.default_time_format, self.converter(second))
            self._second = second, shown
        moment = f"{shown},{int(record.msecs):03d}"
        return f"{moment} {record.levelname} {record.name}: {record.getMessage()}"


def configure_logging(level: str) -> None:
    """Log to standard error, one line per event."""
    # Nothing here is logged with them, and every record would collect them; nor with the place in
    # the code, for which each line would look through its callers' frames.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    vars(logging)["_srcfile"] = None  # https://docs.python.org/3/howto/logging.html#optimization
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    # uvicorn traces connections where the last one's own level is low, whatever the first one's is.
    for noisy in ("uvicorn", "uvicorn.error", "httpx2", "huggingface_hub"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
