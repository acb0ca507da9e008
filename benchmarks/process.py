"""Starting and stopping a contestant as a process."""

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.peers import Launch, Peer

HOST = "127.0.0.1"

_READY_TIMEOUT = 120.0
"""Seconds; loading half a gigabyte from a cold disk must fit."""

_STOP_TIMEOUT = 10.0


class ServerError(Exception):
    """A contestant didn't start, or died."""


def free_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def spawned(peer: Peer, launch: Launch, logs: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``peer`` without waiting for it to be ready; stop it at the end.

    Its output goes to a file in ``logs``: a full pipe would stall it.
    """
    name = peer.name.replace("/", "-")
    with (logs / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            peer.command(launch),
            env={**_environment(), **peer.environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            _stop(process)


@contextmanager
def serving(peer: Peer, launch: Launch, logs: Path) -> Iterator[int]:
    """Run ``peer``, wait until it is ready, and give its process id.

    Raises ``ServerError`` if it doesn't get there.
    """
    with spawned(peer, launch, logs) as process:
        deadline = time.monotonic() + _READY_TIMEOUT
        while not _is_ready(launch.port, peer.health):
            if process.poll() is not None:
                raise ServerError(f"exited with {process.returncode} while starting, see {logs}")
            if time.monotonic() > deadline:
                raise ServerError(f"not ready within {_READY_TIMEOUT:.0f} s, see {logs}")
            time.sleep(0.1)
        yield process.pid


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its threads since its start."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _is_ready(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _environment() -> dict[str, str]:
    """This process's environment, without what makes servers compile modules at each start."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it started; kill what doesn't end in time."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_TIMEOUT)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
