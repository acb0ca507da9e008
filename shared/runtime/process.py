"""Interpreter settings of a process that serves."""

from __future__ import annotations

import sys

_SERVING = 0.0005
STARTING = 0.00002
"""While modules are imported beside llama.cpp, which hands over a thousand lines of its log and the
progress as it loads: its thread waits that long for the interpreter each time."""


def set_switch_interval(seconds: float = _SERVING) -> None:
    """Let a thread that computes yield after ``seconds`` to one that waits for the interpreter.

    The default of 5 ms would let the engine's thread hold up every event for that long, and the
    other way round.
    """
    sys.setswitchinterval(seconds)
