"""Ways to get a file from an S3 server: pilotlight's, AWS's own, a single GET, and bare sockets."""

import contextlib
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
from typing import Any
from urllib.parse import urlsplit

from awscrt import auth, io
from awscrt.http import HttpHeaders, HttpRequest
from awscrt.s3 import (
    S3ChecksumAlgorithm,
    S3ChecksumConfig,
    S3Client,
    S3RequestTlsMode,
    S3RequestType,
    create_default_s3_signing_config,
)

from shared.models.s3.access import S3Access
from shared.models.s3.checksum import Checksum
from shared.models.s3.crc import CRC64NVME, Crc
from shared.models.s3.http_connection import Connector
from shared.models.s3.location import ObjectLocation
from shared.models.s3.object import S3Object
from shared.models.s3.range_request import BUFFER_SIZE
from shared.models.s3.ranged_download import CONNECTIONS, RANGE_SIZE, RangedDownload

_BUCKET = "bucket"
_KEY = "model.gguf"
_PATH = f"/{_BUCKET}/{_KEY}"
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
        "pilotlight, transfer alone": functools.partial(transfer, server, CONNECTIONS, RANGE_SIZE),
        "single GET": functools.partial(_single_get, server, target),
        "single GET, then verified": functools.partial(_verified_get, server, target),
        "boto3 get_object, streamed": functools.partial(_get_object, target),
        "boto3 download_file": functools.partial(_download_file, target),
    }
    found["boto3 download_file with awscrt"] = functools.partial(_crt, server, target)
    found["awscrt S3Client, in memory, verified"] = functools.partial(_s3_client, server, None)
    found["awscrt S3Client, in a file, verified"] = functools.partial(_s3_client, server, target)
    found["awscrt S3Client, by callback, verified"] = functools.partial(_s3_client_callback, server)
    found["awscrt S3Client, transfer alone"] = functools.partial(_s3_client_transfer, server)
    if shutil.which("aws"):
        found["aws s3 cp"] = functools.partial(_aws_cli, target)
    return found


def transfer(server: Server, connections: int, range_size: int) -> Callable[[], object]:
    """Pilotlight's transfer, without the AWS library's work and without hashing."""
    fd = _memory(server.size)
    download = RangedDownload(
        _Source(f"{server.url}{_PATH}?", server.ca_bundle),
        server.size,
        fd,
        etag=_ETAG,
        connections=connections,
        range_size=range_size,
    )
    download.start()
    download.wait_until(server.size)
    download.stop()
    return functools.partial(os.close, fd)


class _Source(Connector):
    """An address that never expires."""

    def __init__(self, url: str, ca_bundle: str | None) -> None:
        super().__init__(ca_bundle)
        self._url = url

    def url(self, refused: str = "") -> str:
        """See `shared.models.s3.range_request.Source`."""
        del refused
        return self._url


def _pilotlight(cache: str) -> Callable[[], object]:
    from shared.models.s3.source import fetch

    files = fetch(_SOURCE, cache)
    return files.close if cache == "memory" else functools.partial(shutil.rmtree, cache)


def _bare_sockets(server: Server) -> Callable[[], object]:
    """The same ranges on as many connections, with nothing done but to put them into memory."""
    fd = _memory(server.size)
    starts = iter(range(0, server.size, RANGE_SIZE))
    lock = threading.Lock()

    def work() -> None:
        buffer = memoryview(bytearray(BUFFER_SIZE))
        with server.connect() as connection:
            while True:
                with lock:
                    position = next(starts, None)
                if position is None:
                    return
                end = min(position + RANGE_SIZE, server.size)
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
        while block := file.read(BUFFER_SIZE):
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


def _s3_client(server: Server, target: Path | None) -> Callable[[], object]:
    """AWS's own client of C in the place of pilotlight's transfer: all else is the same."""
    size, checksum = _asked()
    config = S3ChecksumConfig(  # type: ignore[call-arg]  # the annotations are of an older version
        expected_checksum=checksum.value,
        expected_checksum_algorithm=S3ChecksumAlgorithm[checksum.algorithm],
    )
    if target is not None:
        _s3_get(server, recv_filepath=str(target), checksum_config=config)
        return target.unlink
    fd = _memory(size)
    _s3_get(server, recv_filepath=f"/proc/self/fd/{fd}", checksum_config=config)
    return functools.partial(os.close, fd)


def _s3_client_callback(server: Server) -> Callable[[], object]:
    """The same with parts as they come, in order: who notes what has arrived can resume there."""
    size, checksum = _asked()
    fd = _memory(size)
    hashed = checksum.range_hash(0)

    def put(chunk: bytes, offset: int, **_: object) -> None:
        hashed.update(memoryview(chunk))
        os.pwrite(fd, chunk, offset)

    _s3_get(server, on_body=put)
    if checksum.of([hashed]) != checksum.value:
        raise ValueError("what arrived is corrupt")
    return functools.partial(os.close, fd)


def _asked() -> tuple[int, Checksum]:
    """The object's size and checksum, as pilotlight asks for them."""
    with contextlib.closing(S3Access()) as access:
        found = S3Object(access, ObjectLocation.parse(_SOURCE))
        checksum = found.checksum
        assert checksum is not None
        return found.size, checksum


def _s3_client_transfer(server: Server) -> Callable[[], object]:
    fd = _memory(server.size)
    _s3_get(server, recv_filepath=f"/proc/self/fd/{fd}")
    return functools.partial(os.close, fd)


def _s3_get(
    server: Server, *, checksum_config: S3ChecksumConfig | None = None, **destination: Any
) -> None:
    """The object by one request of the client's, on as many connections as pilotlight's.

    Parts of 8 MiB: what was fastest of 8 and 16 MiB and of what the client chooses for 10 and 100
    Gbit/s, with the server near and with the rate of S3's connections alike.
    """
    bootstrap = io.ClientBootstrap.get_or_create_static_default()
    credentials = auth.AwsCredentialsProvider.new_static("id", "secret")
    tls = None
    if server.ca_bundle is not None:
        options = io.TlsContextOptions()
        options.override_default_trust_store_from_path(None, server.ca_bundle)
        tls = io.ClientTlsContext(options).new_connection_options()
    client = S3Client(
        bootstrap=bootstrap,
        region="us-east-1",
        signing_config=create_default_s3_signing_config(
            region="us-east-1", credential_provider=credentials
        ),
        tls_mode=S3RequestTlsMode.DISABLED if tls is None else S3RequestTlsMode.ENABLED,
        tls_connection_options=tls,  # type: ignore[arg-type]  # wrong annotations
        part_size=8 * 2**20,
        max_active_connections_override=CONNECTIONS,
    )
    headers = HttpHeaders([("Host", urlsplit(server.url).netloc), ("If-Match", _ETAG)])
    outcome: dict[str, Any] = {}
    request = client.make_request(
        type=S3RequestType.GET_OBJECT,
        request=HttpRequest("GET", _PATH, headers),
        checksum_config=checksum_config,
        on_done=lambda **done: outcome.update(done),
        **destination,
    )
    request.finished_future.result()
    if checksum_config is not None and not outcome["did_validate_checksum"]:
        raise ValueError("the client has verified nothing")


def _aws_cli(target: Path) -> Callable[[], object]:
    subprocess.run(["aws", "s3", "cp", "--quiet", _SOURCE, str(target)], check=True)
    return target.unlink
