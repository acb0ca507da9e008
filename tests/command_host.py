"""``pilotlight`` program for shell scripts, whose processes are forked from this one's fork server."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.forked_program import COMMAND, ForkedProgram

_PROGRAM = """\
#!/bin/sh
exec {python} -IS {client} {address} "$@"
"""
_CLIENT = """\
import json, os, socket, sys

with socket.socket(socket.AF_UNIX) as host:
    host.connect(sys.argv[1])
    call = json.dumps([sys.argv[2:], dict(os.environ), os.getcwd()]).encode()
    socket.send_fds(host, [b"."], [0, 1, 2])
    host.sendall(call)
    host.shutdown(socket.SHUT_WR)
    sys.exit(int(host.recv(16)))
"""


@contextmanager
def hosted_program() -> Iterator[Path]:
    """A directory with a program ``pilotlight``, for as long as the block runs.

    It takes arguments, environment, working directory and standard streams as the command does.
    """
    with TemporaryDirectory() as name, socket.socket(socket.AF_UNIX) as listener:
        directory = Path(name)
        client, address = directory / "client.py", directory / "socket"
        client.write_text(_CLIENT, encoding="utf-8")
        program = directory / "pilotlight"
        names = {"python": sys.executable, "client": client, "address": address}
        quoted = {name: shlex.quote(str(value)) for name, value in names.items()}
        program.write_text(_PROGRAM.format(**quoted), encoding="utf-8")
        program.chmod(0o700)
        listener.bind(str(address))
        listener.listen()
        threading.Thread(target=_serve, args=(listener,), daemon=True).start()
        try:
            yield directory
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # it was shut down
            return
        threading.Thread(target=_run, args=(connection,), daemon=True).start()


def _run(connection: socket.socket) -> None:
    """Run the command that a program asks for, and tell it the exit status."""
    with connection, ExitStack() as opened:
        descriptors = socket.recv_fds(connection, 1, 3)[1]
        reading = opened.enter_context(os.fdopen(descriptors[0], "rb"))
        stdout, stderr = (opened.enter_context(os.fdopen(each, "wb")) for each in descriptors[1:])
        arguments, environ, directory = json.load(connection.makefile("rb"))
        process = ForkedProgram(
            COMMAND,
            arguments,
            environ=environ,
            directory=Path(directory),
            stdin=reading,
            stdout=stdout,
            stderr=stderr,
        )
        connection.sendall(b"%d" % process.wait())
