"""How fast a model comes from S3: pilotlight, AWS's own ways, a single GET, and bare sockets.

``python -m benchmarks.model_fetch`` serves a file of random bytes on the loopback (see
`benchmarks.object_server`) and has every contestant fetch it, in turns. All but the bare sockets
and ``pilotlight`` in memory write to a tmpfs, so that no disk is measured. Each begins with nothing
but its library imported: making the AWS library's client is part of the fetch. ``--tls`` does the
same over HTTPS, ``--rate 90 --delay 30`` makes every connection as slow as one to S3, ``--only``
has just those in the contest whose names match. ``--shaped`` shows with such slow connections what
their number and the parts' size do.
"""

import argparse
import base64
import contextlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fetchers import Server, fetchers, transfer
from shared.models.s3.crc import CRC64NVME, Crc
from tests.models.tls import write_authority

_TMPFS = Path("/dev/shm")


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--rate", type=float, default=0, help="MB/s of one connection")
    parser.add_argument("--delay", type=float, default=0, help="ms to a response's first byte")
    parser.add_argument("--only", default="", help="regular expression for contestants' names")
    parser.add_argument("--shaped", action="store_true")
    options = parser.parse_args()
    size = options.megabytes * 10**6
    with tempfile.TemporaryDirectory(dir=_TMPFS) as name:
        directory = Path(name)
        path = directory / "model.gguf"
        arguments = ["--checksum", _write(path, size)]
        ca_bundle = None
        if options.tls:
            ca_bundle = str(write_authority(directory)[0])
            arguments += ["--tls", str(directory / "server.pem")]
        rate, delay = (90, 30) if options.shaped else (options.rate, options.delay)
        arguments += ["--rate", str(rate), "--delay", str(delay)]
        with _served(path, arguments) as url:
            server = Server(url, size, ca_bundle)
            if options.shaped:
                _print_shapes(server, options.rounds)
            else:
                _print_contest(server, directory / "fetched.gguf", options.rounds, options.only)


@dataclass(frozen=True, slots=True)
class _Fetch:
    """``cpu_seconds`` of this process and its children; the server has its own."""

    megabytes_per_second: float
    cpu_seconds: float


def _print_contest(server: Server, target: Path, rounds: int, only: str) -> None:
    os.environ.update(
        AWS_ENDPOINT_URL_S3=server.url,
        AWS_ACCESS_KEY_ID="id",
        AWS_SECRET_ACCESS_KEY="secret",
        AWS_DEFAULT_REGION="us-east-1",
        AWS_CA_BUNDLE=server.ca_bundle or "",
    )
    if server.ca_bundle is None:
        del os.environ["AWS_CA_BUNDLE"]
    first, *others = fetchers(server, target).items()
    contestants = dict([first, *(each for each in others if re.search(only, each[0]))])
    fetches: dict[str, list[_Fetch]] = {name: [] for name in contestants}
    # The first round imports libraries and is not counted.
    for number in range(rounds + 1):
        for name, fetch in contestants.items():
            fetched = _measure(fetch, server.size)
            print(f"round {number}: {name}: {fetched}", file=sys.stderr)
            if number:
                fetches[name].append(fetched)
    print("The server: benchmarks.object_server (sendfile)\n")
    print("| | best MB/s | median MB/s | of bare sockets in the same round | CPU s/GB |")
    print("|---|---|---|---|---|")
    bare = [fetched.megabytes_per_second for fetched in fetches["bare sockets"]]
    for name, found in fetches.items():
        rates = [fetched.megabytes_per_second for fetched in found]
        share = statistics.median(rate / of for rate, of in zip(rates, bare, strict=True))
        cpu = min(fetched.cpu_seconds for fetched in found) / server.size * 1e9
        print(
            f"| {name} | {max(rates):.0f} | {statistics.median(rates):.0f} | {100 * share:.0f} % "
            f"| {cpu:.2f} |"
        )


def _print_shapes(server: Server, rounds: int) -> None:
    sizes = [1, 2, 4, 8]
    print("| connections | " + " | ".join(f"{size} MiB parts" for size in sizes) + " |")
    print("|---|" + "---|" * len(sizes))
    for connections in (1, 4, 8, 16, 32):
        cells = []
        for mebibytes in sizes:

            def fetch(connections: int = connections, size: int = mebibytes * 2**20) -> _CleanUp:
                return transfer(server, connections, size)

            best = max(_measure(fetch, server.size).megabytes_per_second for _ in range(rounds))
            cells.append(f"{best:.0f}")
        print(f"| {connections} | " + " | ".join(cells) + " |", flush=True)


_CleanUp = Callable[[], object]


def _measure(fetch: Callable[[], _CleanUp], size: int) -> _Fetch:
    started, cpu = time.perf_counter(), _cpu_seconds()
    clean_up = fetch()
    fetched = _Fetch(size / 1e6 / (time.perf_counter() - started), _cpu_seconds() - cpu)
    clean_up()
    return fetched


def _cpu_seconds() -> float:
    """Of this process and those of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _write(path: Path, size: int) -> str:
    """A file of ``size`` bytes that looks like GGUF; returns its CRC-64/NVME as S3 writes it."""
    crc = Crc(CRC64NVME)
    with path.open("wb") as file:
        block = b"GGUF" + os.urandom(2**20 - 4)
        for start in range(0, size, len(block)):
            piece = block[: size - start]
            file.write(piece)
            crc.update(memoryview(piece))
    return base64.b64encode(crc.digest()).decode()


@contextlib.contextmanager
def _served(path: Path, arguments: list[str]) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.object_server", str(path), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            yield (
                f"https://localhost:{port}" if "--tls" in arguments else f"http://127.0.0.1:{port}"
            )
        finally:
            process.kill()


if __name__ == "__main__":
    main()
