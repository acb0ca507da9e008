"""Log of llama.cpp: goes to a logger, and sizes that are told nowhere else are read from it.

The library's own habit of writing to stderr is switched off.
"""

from __future__ import annotations

import ctypes
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile

from shared.engine.llama.bindings import lib

_log = logging.getLogger("pilotlight.llama_cpp")

# ggml_log_level: 0 none, 1 debug, 2 info, 3 warn, 4 error, 5 continuation of the line before.
_LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.DEBUG, 4: logging.WARNING}
_ENDS = ": printing all EOG tokens:"
_LISTED = re.compile(r"\w+:   - (?P<token>\d+) \('")
_last_errors: list[str] = []
_recordings: list[list[str]] = []


@lib.llama_log_callback  # type: ignore[untyped-decorator]
def _log_callback(level: int, text: bytes, _user_data: object) -> None:
    """Forward a line of llama.cpp's; its warnings are routine (they appear on every load)."""
    if level not in _LEVELS:
        return
    line = text.decode("utf-8", "replace").rstrip()
    for recording in _recordings:
        recording.append(line)
    if level == 4:
        _last_errors.append(line)
        del _last_errors[:-4]
    if line:
        _log.log(_LEVELS[level], "%s", line)


def receive_log() -> None:
    """Have llama.cpp call us, again if need be: importing the package ``llama_cpp`` undoes it.

    The callback object must outlive every call into the library: the module keeps it.
    """
    lib.llama_log_set(_log_callback, ctypes.c_void_p(0))


receive_log()


def forget_errors() -> None:
    """Let `last_errors` be about what comes from now on."""
    receive_log()
    _last_errors.clear()


def last_errors() -> str:
    """Why the last call failed, as far as llama.cpp logged it."""
    return "; ".join(_last_errors) or "llama.cpp gave no reason"


@contextmanager
def recorded_log() -> Iterator[list[str]]:
    """What llama.cpp logs meanwhile: it tells some things in no other way."""
    receive_log()
    lines: list[str] = []
    _recordings.append(lines)
    try:
        yield lines
    finally:
        _recordings.remove(lines)


def logged_ends(lines: Sequence[str]) -> list[int]:
    """The tokens that a load's log names as ends of generations; none if it has no such list."""
    heading = next((i for i, line in enumerate(lines) if line.endswith(_ENDS)), len(lines))
    found = takewhile(bool, map(_LISTED.match, lines[heading + 1 :]))
    return sorted(int(match["token"]) for match in found if match)
