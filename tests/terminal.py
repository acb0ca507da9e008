"""The command on a terminal of its own, as a person has it: typing, and reading what is shown."""

from __future__ import annotations

import os
import pty
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from select import select
from typing import IO

from tests.forked_program import COMMAND, ForkedProgram, Program

SECONDS = 120.0
"""Far more than anything here takes: only a hang should reach it."""


class Terminal:
    """The terminal, and the process on it. ``shown`` is all that was read of it so far."""

    def __init__(self, file: int, process: Program) -> None:
        self._file = file
        self.process = process
        self.shown = ""
        self._position = 0

    def type(self, text: str) -> None:
        """Press the keys; Ctrl-C is ``\\x03`` and Ctrl-D ``\\x04``."""
        os.write(self._file, text.encode())

    def read_until(self, text: str) -> None:
        """Read until ``text`` is shown, behind what was waited for last."""
        while (found := self.shown.find(text, self._position)) < 0:
            assert self._read(), f"ended before {text!r} was shown: {self.shown}"
        self._position = found + len(text)

    def wait(self) -> int:
        """Read to the end; returns the exit status."""
        while self._read():
            pass
        return self.process.wait(SECONDS)

    def interrupt(self) -> int:
        """Press Ctrl-C until it ends, as people do; returns the exit status.

        A prompt of Python's passes over a signal between showing itself and waiting for keys.
        """
        self.type("\x03")
        while self.process.poll() is None:
            if not select([self._file], [], [], 1.0)[0]:
                self.type("\x03")
            elif not self._read():
                break
        return self.wait()

    def _read(self) -> bool:
        """Read what is there, at least a byte; False at the end."""
        assert select([self._file], [], [], SECONDS)[0], f"no more than {self.shown!r}"
        try:
            data = os.read(self._file, 4096)
        except OSError:  # Linux says so where nobody has the terminal open any more
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)


@contextmanager
def terminal(
    *arguments: str, environ: Mapping[str, str], stdout: IO[bytes] | None = None
) -> Iterator[Terminal]:
    """``pilotlight ARGUMENTS`` on a terminal; ``stdout`` is where its standard output goes instead."""
    file, other = pty.openpty()
    with os.fdopen(other, "wb", buffering=0) as shown:
        process = ForkedProgram(
            COMMAND,
            arguments,
            environ={**environ, "TERM": "dumb"},
            stdout=stdout or shown,
            stderr=shown,
            terminal=os.ttyname(other),
        )
    try:
        yield Terminal(file, process)
    finally:
        process.kill()
        process.wait()
        os.close(file)
