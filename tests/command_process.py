"""``pilotlight`` command in a forked process, which has imported already what it needs.

A new interpreter imports for a second of processor time before a server loads its model. The process
here runs the command's own entry point, with arguments, environment, working directory and standard
streams of its own. What it does not go through is the interpreter's start and end: some tests of each
command start that, by `tests.server.command`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from multiprocessing.reduction import DupFd
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Protocol

from functions.cli.__main__ import main
from tests.processes import PROCESSES


class CommandProcess(Protocol):
    """A running command: what `subprocess.Popen` and `ForkedCommand` have in common."""

    @property
    def pid(self) -> int:
        """The process's number."""

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once it has ended; raises `subprocess.TimeoutExpired`."""

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it has ended."""

    def kill(self) -> None:
        """Send SIGKILL, unless it has ended."""


class ForkedCommand:
    """``pilotlight ARGUMENTS`` as a forked process; see `CommandProcess`."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        environ: Mapping[str, str],
        directory: Path | None = None,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes],
        stderr: IO[bytes],
    ) -> None:
        """Start it. ``stdin`` is empty by default, ``directory`` this process's."""
        self._arguments = arguments
        with ExitStack() as opened:
            files = (stdin or opened.enter_context(open(os.devnull, "rb")), stdout, stderr)
            self._process = PROCESSES.Process(
                target=_run,
                args=(arguments, dict(environ), str(directory or Path.cwd()), _Streams(files)),
            )
            self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once it has ended; raises `subprocess.TimeoutExpired`."""
        self._process.join(timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(self._arguments, timeout or 0)
        return status

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        """Send SIGKILL, unless it has ended."""
        self.send_signal(signal.SIGKILL)


def run_command(
    *arguments: str,
    environ: Mapping[str, str],
    directory: Path | None = None,
    said: str = "",
    seconds: float = 300.0,
) -> subprocess.CompletedProcess[str]:
    """Run ``pilotlight ARGUMENTS`` to its end, with ``said`` as its standard input."""
    with TemporaryFile() as stdin, TemporaryFile() as stdout, TemporaryFile() as stderr:
        stdin.write(said.encode())
        stdin.seek(0)
        process = ForkedCommand(
            arguments,
            environ=environ,
            directory=directory,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )
        try:
            status = process.wait(seconds)
        finally:
            process.kill()
        printed = []
        for file in (stdout, stderr):
            file.seek(0)
            printed.append(file.read().decode())
    return subprocess.CompletedProcess(arguments, status, *printed)


class _Streams:
    """Files that become a forked process's standard streams, sent when it is started."""

    def __init__(self, files: Sequence[IO[bytes]]) -> None:
        self._files = files

    def __getstate__(self) -> list[Any]:
        return [DupFd(file.fileno()) for file in self._files]

    def __setstate__(self, sent: list[Any]) -> None:
        self._sent = sent

    def become_standard(self) -> None:
        """Have a new interpreter's standard streams."""
        for number, each in enumerate(self._sent):
            descriptor = each.detach()
            os.dup2(descriptor, number)
            os.close(descriptor)
        sys.stdin = os.fdopen(0, closefd=False)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)


def _run(
    arguments: Sequence[str], environ: Mapping[str, str], directory: str, streams: _Streams
) -> None:
    """Be the command."""
    streams.become_standard()
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(directory)
    sys.argv = ["pilotlight", *arguments]
    sys.exit(main())
