"""How fast a model comes from S3: pilotlight, AWS's own ways, a single GET, and bare sockets.

``python -m benchmarks.model_fetch`` serves a file of random bytes on the loopback (see
`benchmarks.object_server`) and has every contestant fetch it, in turns. All but the bare sockets
and ``pilotlight`` in memory write to a tmpfs, so that no disk is measured. ``--shaped`` makes every
connection as slow as one to S3 instead and shows what their number and the ranges' size do.
"""

import argparse
import base64
import contextlib
import functools
import http.client
import importlib.util
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from shared.models.crc import CRC64NVME, Crc
from shared.models.http_connection import Connector
from shared.models.range_request import BUFFER_SIZE
from shared.models.ranged_download import CONNECTIONS, RANGE_SIZE, RangedDownload

_SOURCE = "s3://bucket/model.gguf"
_ETAG = '"0123456789abcdef-opaque"'
_TMPFS = Path("/dev/shm")


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shaped", action="store_true")
    options = parser.parse_args()
    size = options.megabytes * 10**6
    with tempfile.TemporaryDirectory(dir=_TMPFS) as directory:
        path = Path(directory) / "model.gguf"
        checksum = _write(path, size)
        if options.shaped:
            with _server(path, "--rate", "90", "--delay", "30") as url:
                _print_shapes(url, size, options.rounds)
        else:
            with _server(path, "--checksum", checksum) as url:
                _print_contest(url, size, Path(directory), options.rounds)


def _print_contest(url: str, size: int, directory: Path, rounds: int) -> None:
    os.environ.update(
        AWS_ENDPOINT_URL_S3=url,
        AWS_ACCESS_KEY_ID="id",
        AWS_SECRET_ACCESS_KEY="secret",
        AWS_DEFAULT_REGION="us-east-1",
    )
    contestants = _contestants(url, size, directory / "fetched.gguf")
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name, fetch in contestants.items():
            rates[name].append(size / 1e6 / fetch())
            print(f"round {number + 1}: {name}: {rates[name][-1]:.0f} MB/s", file=sys.stderr)
    print("| | best MB/s | median MB/s | best, of bare sockets |\n|---|---|---|---|")
    ceiling = max(next(iter(rates.values())))
    for name, found in rates.items():
        share = f"{100 * max(found) / ceiling:.0f} %"
        print(f"| {name} | {max(found):.0f} | {statistics.median(found):.0f} | {share} |")


def _print_shapes(url: str, size: int, rounds: int) -> None:
    sizes = [2, 8, 32]
    print("| connections | " + " | ".join(f"{size} MiB ranges" for size in sizes) + " |")
    print("|---|" + "---|" * len(sizes))
    for connections in (1, 4, 8, 16, 32):
        cells = []
        for mebibytes in sizes:
            seconds = min(
                _transfer(url, size, connections, mebibytes * 2**20) for _ in range(rounds)
            )
            cells.append(f"{size / 1e6 / seconds:.0f}")
        print(f"| {connections} | " + " | ".join(cells) + " |", flush=True)


def _contestants(url: str, size: int, target: Path) -> dict[str, Callable[[], float]]:
    """By name, what returns the seconds that a fetch took."""
    found: dict[str, Callable[[], float]] = {
        "bare sockets": functools.partial(_bare_sockets, url, size),
        "pilotlight, transfer alone": functools.partial(
            _transfer, url, size, CONNECTIONS, RANGE_SIZE
        ),
        "pilotlight, verified, in memory": functools.partial(_pilotlight, "memory"),
        "pilotlight, verified, in a directory": functools.partial(
            _pilotlight, str(target.parent / "cache")
        ),
        "single GET": functools.partial(_single_get, url, target),
        "single GET, then verified": functools.partial(_single_get, url, target, is_verified=True),
        "boto3 get_object, streamed": functools.partial(_get_object, target),
        "boto3 download_file": functools.partial(_download_file, target),
    }
    if importlib.util.find_spec("awscrt"):
        found["boto3 download_file with awscrt"] = functools.partial(_crt, url, target)
    if shutil.which("aws"):
        found["aws s3 cp"] = functools.partial(_aws_cli, target)
    return found


class _Source(Connector):
    """An address that never expires."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def url(self, refused: str = "") -> str:
        """See `shared.models.range_request.Source`."""
        del refused
        return self._url


def _transfer(url: str, size: int, connections: int, range_size: int) -> float:
    fd = os.memfd_create("fetched")
    os.truncate(fd, size)
    with _timed() as seconds:
        download = RangedDownload(
            _Source(f"{url}/bucket/model.gguf"),
            size,
            fd,
            etag=_ETAG,
            connections=connections,
            range_size=range_size,
        )
        download.start()
        download.wait_until(size)
        download.stop()
    os.close(fd)
    return seconds[0]


def _pilotlight(cache: str) -> float:
    from shared.models.s3 import fetch

    with _timed() as seconds:
        files = fetch(_SOURCE, cache)
    files.close()
    if cache != "memory":
        shutil.rmtree(cache)
    return seconds[0]


def _bare_sockets(url: str, size: int) -> float:
    """The same ranges on as many connections, with nothing done but to put them into memory."""
    port = int(url.rpartition(":")[2])
    fd = os.memfd_create("fetched")
    os.truncate(fd, size)
    starts = iter(range(0, size, RANGE_SIZE))
    lock = threading.Lock()

    def work() -> None:
        buffer = memoryview(bytearray(2**18))
        with socket.create_connection(("127.0.0.1", port)) as connection:
            while True:
                with lock:
                    position = next(starts, None)
                if position is None:
                    return
                end = min(position + RANGE_SIZE, size)
                wanted = f"Range: bytes={position}-{end - 1}".encode()
                connection.sendall(b"GET /bucket/model.gguf HTTP/1.1\r\n" + wanted + b"\r\n\r\n")
                received = b""
                while b"\r\n\r\n" not in received:
                    received += connection.recv(4096)
                body = received.partition(b"\r\n\r\n")[2]
                position += os.pwrite(fd, body, position)
                while position < end:
                    count = connection.recv_into(buffer, min(len(buffer), end - position))
                    position += os.pwrite(fd, buffer[:count], position)

    with _timed() as seconds:
        threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    os.close(fd)
    return seconds[0]


def _single_get(url: str, target: Path, *, is_verified: bool = False) -> float:
    with _timed() as seconds:
        with target.open("wb") as file:
            connection = http.client.HTTPConnection(url.removeprefix("http://"))
            connection.request("GET", "/bucket/model.gguf")
            shutil.copyfileobj(connection.getresponse(), file, 2**20)
            connection.close()
        if is_verified:
            crc = Crc(CRC64NVME)
            with target.open("rb") as file:
                while block := file.read(BUFFER_SIZE):
                    crc.update(memoryview(block))
            crc.digest()
    target.unlink()
    return seconds[0]


def _get_object(target: Path) -> float:
    import boto3

    client = boto3.client("s3")
    with _timed() as seconds, target.open("wb") as file:
        body = client.get_object(Bucket="bucket", Key="model.gguf")["Body"]
        for chunk in body.iter_chunks(2**20):
            file.write(chunk)
    target.unlink()
    return seconds[0]


def _download_file(target: Path) -> float:
    import boto3
    from boto3.s3.transfer import TransferConfig

    client = boto3.client("s3")
    with _timed() as seconds:
        client.download_file(
            *("bucket", "model.gguf", str(target)),
            Config=TransferConfig(preferred_transfer_client="classic"),
        )
    target.unlink()
    return seconds[0]


def _crt(url: str, target: Path) -> float:
    """What boto3 does with awscrt installed, which there insists on TLS."""
    from botocore.session import get_session
    from s3transfer import crt

    manager = crt.CRTTransferManager(
        crt.create_s3_crt_client("us-east-1", use_ssl=False),
        crt.BotocoreCRTRequestSerializer(
            get_session(), {"endpoint_url": url, "region_name": "us-east-1"}
        ),
    )
    with _timed() as seconds, manager:
        manager.download("bucket", "model.gguf", str(target)).result()
    target.unlink()
    return seconds[0]


def _aws_cli(target: Path) -> float:
    """Its start included: nobody gets it without."""
    with _timed() as seconds:
        subprocess.run(["aws", "s3", "cp", "--quiet", _SOURCE, str(target)], check=True)
    target.unlink()
    return seconds[0]


@contextlib.contextmanager
def _timed() -> Iterator[list[float]]:
    """Appends the seconds that the block took."""
    seconds: list[float] = []
    started = time.perf_counter()
    yield seconds
    seconds.append(time.perf_counter() - started)


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
def _server(path: Path, *options: str) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.object_server", str(path), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


if __name__ == "__main__":
    main()
