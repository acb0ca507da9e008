"""Ways to get a file from an S3 server: pilotlight's, AWS's own, a single GET, and bare sockets."""

import functools
import http.client
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from shared.models.s3.crc import CRC64NVME, Crc
from shared.models.s3.transfer import CONNECTIONS, PART_SIZE, download

_BUCKET = "bucket"
_KEY = "model.gguf"
_PATH = f"/{_BUCKET}/{_KEY}"
_BUFFER_SIZE = 512 * 2**10
_SOURCE = f"s3:/{_PATH}"
_ETAG = '"0123456789abcdef-opaque"'

Fetcher = Callable[[], Callable[[], object]]
"""Fetches, and returns what cleans up."""


@dataclass(frozen=True)
class Server:
    """``url`` of one that has the file; ``ca_bundle`` says whom to trust if that is HTTPS."""

    url: str
    size: int
    ca_bundle: str | None

    def connect(self) -> socket.socket:
        """A connection to it."""
        address = urlsplit(self.url)
        connection = socket.create_connection((address.hostname, address.port))
        if self.ca_bundle is None:
            return connection
        context = ssl.create_default_context(cafile=self.ca_bundle)
        return context.wrap_socket(connection, server_hostname=address.hostname)


def fetchers(server: Server, target: Path) -> dict[str, Fetcher]:
    """By name; the bare sockets are the first. ``target`` is a file to write."""
    found: dict[str, Fetcher] = {
        "bare sockets": functools.partial(_bare_sockets, server),
        "pilotlight, in memory, verified": functools.partial(_pilotlight, "memory"),
        "pilotlight, in a directory, verified": functools.partial(
            _pilotlight, str(target.parent / "cache")
        ),
        "pilotlight, transfer alone": functools.partial(transfer, server, CONNECTIONS, PART_SIZE),
        "single GET": functools.partial(_single_get, server, target),
        "single GET, then verified": functools.partial(_verified_get, server, target),
        "boto3 get_object, streamed": functools.partial(_get_object, target),
        "boto3 download_file": functools.partial(_download_file, target),
    }
    found["boto3 download_file with awscrt"] = functools.partial(_crt, server, target)
    if shutil.which("aws"):
        found["aws s3 cp"] = functools.partial(_aws_cli, target)
    return found


def transfer(server: Server, connections: int, part_size: int) -> Callable[[], object]:
    """Pilotlight's transfer, without the AWS library's work and without hashing."""
    fd = _memory(server.size)
    position = 0

    def take(data: bytes) -> None:
        nonlocal position
        position += os.pwrite(fd, data, position)

    source = _Source(f"{server.url}{_PATH}", server.size, server.ca_bundle or "")
    download(source, 0, take, connections=connections, part_size=part_size)
    return functools.partial(os.close, fd)


@dataclass(frozen=True)
class _Source:
    """An address that never expires; see `shared.models.s3.transfer.Source`."""

    address: str
    size: int
    ca_bundle: str
    etag: str = _ETAG

    def url(self, refused: str = "") -> str:
        """The address."""
        del refused
        return self.address


def _pilotlight(cache: str) -> Callable[[], object]:
    from shared.models.s3.source import fetch

    files = fetch(_SOURCE, cache)
    return files.close if cache == "memory" else functools.partial(shutil.rmtree, cache)


def _bare_sockets(server: Server) -> Callable[[], object]:
    """The same ranges on as many connections, with nothing done but to put them into memory."""
    fd = _memory(server.size)
    starts = iter(range(0, server.size, PART_SIZE))
    lock = threading.Lock()

    def work() -> None:
        buffer = memoryview(bytearray(_BUFFER_SIZE))
        with server.connect() as connection:
            while True:
                with lock:
                    position = next(starts, None)
                if position is None:
                    return
                end = min(position + PART_SIZE, server.size)
                wanted = f"Range: bytes={position}-{end - 1}"
                connection.sendall(f"GET {_PATH} HTTP/1.1\r\n{wanted}\r\n\r\n".encode())
                received = b""
                while b"\r\n\r\n" not in received:
                    received += connection.recv(4096)
                body = received.partition(b"\r\n\r\n")[2]
                position += os.pwrite(fd, body, position)
                while position < end:
                    count = connection.recv_into(buffer, min(len(buffer), end - position))
                    position += os.pwrite(fd, buffer[:count], position)

    threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return functools.partial(os.close, fd)


def _memory(size: int) -> int:
    fd = os.memfd_create("fetched")
    os.truncate(fd, size)
    return fd


def _single_get(server: Server, target: Path) -> Callable[[], object]:
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port)
    connection.sock = server.connect()
    with target.open("wb") as file:
        connection.request("GET", _PATH)
        shutil.copyfileobj(connection.getresponse(), file, 2**20)
    connection.close()
    return target.unlink


def _verified_get(server: Server, target: Path) -> Callable[[], object]:
    clean_up = _single_get(server, target)
    crc = Crc(CRC64NVME)
    with target.open("rb") as file:
        while block := file.read(_BUFFER_SIZE):
            crc.update(memoryview(block))
    crc.digest()
    return clean_up


def _get_object(target: Path) -> Callable[[], object]:
    import boto3

    body = boto3.client("s3").get_object(Bucket=_BUCKET, Key=_KEY)["Body"]
    with target.open("wb") as file:
        for chunk in body.iter_chunks(2**20):
            file.write(chunk)
    return target.unlink


def _download_file(target: Path) -> Callable[[], object]:
    import boto3
    from boto3.s3.transfer import TransferConfig

    boto3.client("s3").download_file(
        *(_BUCKET, _KEY, str(target)),
        Config=TransferConfig(preferred_transfer_client="classic"),
    )
    return target.unlink


def _crt(server: Server, target: Path) -> Callable[[], object]:
    """What boto3 does with awscrt installed, on machines that AWS has tuned it for."""
    from botocore.session import get_session
    from s3transfer import crt

    client = crt.create_s3_crt_client(
        "us-east-1", use_ssl=server.ca_bundle is not None, verify=server.ca_bundle
    )
    serializer = crt.BotocoreCRTRequestSerializer(
        get_session(), {"endpoint_url": server.url, "region_name": "us-east-1"}
    )
    with crt.CRTTransferManager(client, serializer) as manager:
        manager.download(_BUCKET, _KEY, str(target)).result()
    return target.unlink


def _aws_cli(target: Path) -> Callable[[], object]:
    subprocess.run(["aws", "s3", "cp", "--quiet", _SOURCE, str(target)], check=True)
    return target.unlink
