"""Aborts of llama.cpp (GGML_ABORT): the process ends with a line that says why, status 1.

llama.cpp checks its own assumptions (GGML_ASSERT) and ends the process when one is wrong, by a
signal, with a core dump and pages of backtrace. Damaged models are how that comes about.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.engine.llama.bindings import lib

_STATUS = 1
_doing = ["llama.cpp can't go on"]


@ctypes.CFUNCTYPE(None, ctypes.c_char_p)  # type: ignore[untyped-decorator]
def _end_process(message: bytes) -> None:
    """Called by ggml_abort, on whatever thread; there is no way back into llama.cpp."""
    where, _, what = message.decode("utf-8", "replace").strip().replace("\n", " ").partition(": ")
    line = f"pilotlight: {_doing[-1]}: {what or 'it gave no reason'} ({Path(where).name})\n"
    os.write(2, line.encode("utf-8", "replace"))
    os._exit(_STATUS)


# The bindings lack this function. It is ggml's, which libllama.so depends on.
lib._lib.ggml_set_abort_callback(_end_process)


@contextmanager
def saying(what: str) -> Iterator[None]:
    """Let the line begin with ``what`` should llama.cpp give up meanwhile."""
    _doing.append(what)
    try:
        yield
    finally:
        _doing.remove(what)
