"""Interpreter settings of a process that serves."""

from __future__ import annotations

import sys

_SWITCH_INTERVAL = 0.0005


def set_switch_interval() -> None:
    """Let a thread that computes yield after 0.5 ms to one that waits for the interpreter.

    The default of 5 ms would let the engine's thread hold up every event for that long, and the
    other way round.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL)
