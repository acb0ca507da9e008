"""Seconds from starting the process to the first token over HTTP, with the 0.5 B model.

The model's file is in the page cache, as after a restored snapshot or a second start on one host.
"""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks import client
from benchmarks.metrics import Sample
from benchmarks.peers import MODEL_NAME, Launch, Peer
from benchmarks.process import HOST, ServerError, free_port, spawned
from benchmarks.prompts import Prompts
from benchmarks.scenario import SLOT_CONTEXT, Options

SUITE = "coldstart"

SCENARIO = "first token"

_SLOTS = 4
_PROMPT_WORDS = 8
_POLL = 0.003
"""Seconds between attempts: the error of the measurement, and little work for the cores."""
_TIMEOUT = 60.0


def measure(peer: Peer, options: Options, round_number: int) -> Iterator[Sample]:
    """Yield the one sample of this suite: ``first_token`` in seconds."""
    _read_through(options)
    launch = Launch(options.model, free_port(), _SLOTS, SLOT_CONTEXT, options.threads)
    body: dict[str, object] = {
        "model": MODEL_NAME,
        "prompt": Prompts(round_number).next(_PROMPT_WORDS),
        "max_tokens": 4,
        "stream": True,
        **peer.sampling(()),
    }
    request = client.http_request(launch.port, body)
    started = time.perf_counter()
    try:
        with spawned(peer, launch, options.logs) as process:
            metrics = {"first_token": _first_token(launch.port, request, process) - started}
    except ServerError as error:
        print(f"  {peer.name}: {error}", file=sys.stderr, flush=True)
        yield Sample(SUITE, peer.name, SCENARIO, round_number, error=str(error))
    else:
        yield Sample(SUITE, peer.name, SCENARIO, round_number, metrics)


def _read_through(options: Options) -> None:
    """Bring the model's file into the page cache."""
    with options.model.open("rb", buffering=0) as file:
        while file.read(1 << 24):
            pass


def _first_token(port: int, request: bytes, process: subprocess.Popen[bytes]) -> float:
    """Ask as soon as the port accepts, again while it answers 503; return when a token came."""
    deadline = time.perf_counter() + _TIMEOUT
    while time.perf_counter() < deadline:
        try:
            with socket.create_connection((HOST, port), timeout=_TIMEOUT) as connection:
                connection.sendall(request)
                if _receives_token(connection):
                    return time.perf_counter()
        except OSError:
            if process.poll() is not None:
                raise ServerError(f"exited with {process.returncode} while starting") from None
        time.sleep(_POLL)
    raise ServerError(f"no token within {_TIMEOUT:.0f} s")


def _receives_token(connection: socket.socket) -> bool:
    """Whether the response brings a token. Raises ``ServerError`` unless it is 200 or 503."""
    received = b""
    while data := connection.recv(65536):
        received += data
        if received.startswith(b"HTTP/1.1 503"):
            return False
        if not received.startswith(b"HTTP/1.1 200"):
            raise ServerError(f"unexpected response: {received[:300]!r}")
        if client.has_text(received):
            return True
    return False
