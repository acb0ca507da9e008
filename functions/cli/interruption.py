"""SIGINT (Ctrl-C), which ends a process at once, except where something has to be left in order."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130
"""Exit status of a command that SIGINT ended, as shells give it: 128 and the signal's number."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Make Ctrl-C a `KeyboardInterrupt` inside the block.

    Not everywhere: it would come out of imports, of llama.cpp's callbacks and of the interpreter's
    own end, where nobody can catch it. A process that is told to ignore the signal still does.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
