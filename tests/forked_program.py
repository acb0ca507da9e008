"""Programs in forked processes, which have imported already what they need.

A new interpreter imports for a second of processor time before a server loads its model. A process
here runs a module as ``python -m`` does, with arguments, environment, working directory and standard
streams of its own. What it does not go through is the interpreter's start and end, ``PYTHONPATH``
included: some tests of each program have a new interpreter for it.
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
from runpy import run_module
from tempfile import TemporaryFile
from typing import IO, Any, Protocol

from tests.processes import PROCESSES

COMMAND = "functions.cli"
"""``pilotlight``'s module."""
_SECONDS = 300.0
"""Far more than a command takes: only a hang should reach it."""


class Program(Protocol):
    """A running program: what `subprocess.Popen` and `ForkedProgram` have in common."""

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


class ForkedProgram:
    """``python -m MODULE ARGUMENTS`` as a forked process; see `Program`."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        environ: Mapping[str, str],
        directory: Path | None = None,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes],
        stderr: IO[bytes],
        terminal: str | None = None,
    ) -> None:
        """Start it. ``stdin`` is empty by default, ``directory`` this process's.

        ``terminal`` becomes its own, where Ctrl-C is for it, and its standard input.
        """
        self._command = [module, *arguments]
        with ExitStack() as opened:
            files = (stdin or opened.enter_context(open(os.devnull, "rb")), stdout, stderr)
            self._process = PROCESSES.Process(
                target=_run,
                args=(
                    module,
                    arguments,
                    dict(environ),
                    str(directory or Path.cwd()),
                    _Streams(files),
                    terminal,
                ),
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
            raise subprocess.TimeoutExpired(self._command, timeout or 0)
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
) -> subprocess.CompletedProcess[str]:
    """Run ``pilotlight ARGUMENTS`` to its end, with ``said`` as its standard input."""
    done = run_binary(*arguments, environ=environ, directory=directory, said=said.encode())
    printed = done.stdout.decode(), done.stderr.decode()
    return subprocess.CompletedProcess(arguments, done.returncode, *printed)


def run_binary(
    *arguments: str,
    environ: Mapping[str, str],
    directory: Path | None = None,
    said: bytes = b"",
) -> subprocess.CompletedProcess[bytes]:
    """As `run_command`, without a look at how texts are encoded."""
    with TemporaryFile() as stdin, TemporaryFile() as stdout, TemporaryFile() as stderr:
        stdin.write(said)
        stdin.seek(0)
        process = ForkedProgram(
            COMMAND,
            arguments,
            environ=environ,
            directory=directory,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )
        try:
            status = process.wait(_SECONDS)
        finally:
            process.kill()
        printed = []
        for file in (stdout, stderr):
            file.seek(0)
            printed.append(file.read())
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
        text: Any = {"encoding": sys.stdout.encoding, "errors": sys.stdout.errors}
        for number, each in enumerate(self._sent):
            descriptor = each.detach()
            os.dup2(descriptor, number)
            os.close(descriptor)
        sys.stdin = os.fdopen(0, closefd=False, **text)
        sys.stdout = os.fdopen(1, "w", closefd=False, **text)
        sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)


def _run(
    module: str,
    arguments: Sequence[str],
    environ: Mapping[str, str],
    directory: str,
    streams: _Streams,
    terminal: str | None,
) -> None:
    """Be the program."""
    streams.become_standard()
    if terminal is not None:
        os.setsid()
        opened = os.open(terminal, os.O_RDWR)  # the first that a session opens is its own
        os.dup2(opened, 0)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(directory)
    sys.argv = [module, *arguments]
    run_module(module, run_name="__main__", alter_sys=True)
