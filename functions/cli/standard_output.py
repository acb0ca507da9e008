"""Standard output that can't be written: a closed pipe, a full disk."""

from __future__ import annotations

import os
import sys


def forget_output() -> None:
    """Write what is still to come nowhere: Python would complain when it flushes at exit."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
