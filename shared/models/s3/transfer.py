"""Parallel download of an S3 object by awscrt's `S3Client`, AWS's transfer in C.

It gets several parts at once and hands them over in order. So every kind of checksum is hashed as
the bytes come, and what a killed process got is a prefix of the file, to go on behind. Over HTTPS
it takes two thirds of the CPU time of a transfer in Python, for 10 to 45 % more megabytes a second.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit
from xml.etree import ElementTree

from awscrt.common import join_all_native_threads
from awscrt.exceptions import AwsCrtError
from awscrt.http import HttpHeaders, HttpRequest
from awscrt.io import (
    ClientBootstrap,
    ClientTlsContext,
    DefaultHostResolver,
    EventLoopGroup,
    TlsContextOptions,
)
from awscrt.s3 import (
    S3Client,
    S3RequestTlsMode,
    S3RequestType,
    S3ResponseError,
    S3RetryConfig,
)

PART_SIZE = 2 * 2**20
"""Bytes of a request. Where a connection gets 90 MB/s, parts of 1 MiB are a fourth slower, those of
4 MiB a tenth faster, for two to three times the memory."""
CONNECTIONS = 16
"""Parallel requests. A single one gets 50 to 100 MB/s from S3, whatever the machine could take."""
_MEMORY_LIMIT = 256 * 2**20
"""Bytes, the least that `S3Client` takes. Half of it is for parts, which fill it where the disk is
slower than the network; with 1 GiB it held the 375 MiB of a whole model."""
_THREADS = 2
"""Threads of awscrt's event loop, and again as many that hand parts over."""
ATTEMPTS = 8
"""Failures after which a part is given up."""
_BACKOFF_MILLISECONDS = 100
"""The first retry's longest pause; the following ones' double."""
_LONGEST_BACKOFF = 5
"""Seconds."""
_RETRIES_OF_ALL_PARTS = 2**20
"""No limit: the one on each part does."""
_CONNECT_TIMEOUT = 10_000
"""Milliseconds."""
_JOIN_TIMEOUT = 5.0
"""Seconds that the last of a client's threads has to end: others of awscrt's may stay."""
_BUSY = (408, 429, 500, 502, 503, 504)
"""Statuses after which to try again; of these the client itself does not after 408 and 429."""
_BUSY_NAMES = {
    "AWS_ERROR_S3_SLOW_DOWN": "503 SlowDown: Please reduce your request rate.",
    "AWS_ERROR_S3_INTERNAL_ERROR": "500 InternalError: S3 can't answer now (or 502, 504)",
    "AWS_ERROR_S3_REQUEST_TIMEOUT": "400 RequestTimeout: S3 closed an idle connection",
}
"""S3's own words for errors that `S3Client` tells without them."""
_EXPIRED = ("ExpiredToken", "TokenRefreshRequired")
"""Codes of status 400 that mean what a 403 may mean: the address was signed too long ago."""

_log = logging.getLogger("pilotlight.models")


class DownloadError(Exception):
    """The file can't be had; the message says why."""


class Source(Protocol):
    """An object of S3."""

    @property
    def size(self) -> int:
        """In bytes."""

    @property
    def etag(self) -> str:
        """Identifies the version: an object that changes meanwhile is an error."""

    @property
    def ca_bundle(self) -> str:
        """A file of certificates to trust."""

    def url(self, refused: str = "") -> str:
        """An address to GET, and not ``refused``: signed ones expire. Raises `DownloadError`."""


def download(
    source: Source,
    start: int,
    take: Callable[[bytes], None],
    *,
    connections: int = CONNECTIONS,
    part_size: int = PART_SIZE,
) -> None:
    """Hand bytes from ``start`` on to ``take``, in order, from another thread.

    Raises `DownloadError`, and what ``take`` raises. No thread is left behind.

    A transfer that fails goes on from where it stopped, until `ATTEMPTS` have failed in a row
    without a byte between them; the client's own retries of a part count.
    """
    position, failures, refused, refused_at = start, 0, "", -1

    def on_body(chunk: bytes, **_: object) -> None:
        nonlocal position
        take(chunk)
        position += len(chunk)

    while position < source.size:
        before, address = position, source.url(refused)
        try:
            _get(
                *(source, address, position, on_body),
                max_active_connections_override=connections,
                part_size=part_size,
            )
        except AwsCrtError as error:
            failure = _failure(error)
            if failure.is_refused and position > refused_at:
                refused, refused_at = address, position
                _log.debug("bytes from %d again: %s", position, failure.message)
                continue
            failures = 0 if position > before else failures + failure.attempts
            if failure.is_final or failures >= ATTEMPTS:
                attempts = "" if failure.is_final else f" ({ATTEMPTS} attempts)"
                raise DownloadError(f"{failure.message}{attempts}") from error
            _log.debug("bytes from %d again: %s", position, failure.message)
            longest = min(_LONGEST_BACKOFF, _BACKOFF_MILLISECONDS / 1000 * 2**failures)
            time.sleep(random.uniform(0, longest))
        else:
            if position != source.size:
                raise DownloadError(f"the server sent {position} bytes instead of {source.size}")


@dataclass(frozen=True, slots=True)
class _Failure:
    """``attempts`` that the client made; ``is_refused``: signed too long ago, or not allowed."""

    message: str
    attempts: int = 1
    is_final: bool = False
    is_refused: bool = False


def _failure(error: AwsCrtError) -> _Failure:
    if isinstance(error, S3ResponseError):
        status: int = error.status_code  # type: ignore[attr-defined]  # older annotations
        code, message = _told(error.body)  # type: ignore[attr-defined]
        return _Failure(
            reason(status, code, message),
            is_final=status not in _BUSY,
            is_refused=status == 403 or code in _EXPIRED,
        )
    if error.name in _BUSY_NAMES:
        return _Failure(_BUSY_NAMES[error.name], ATTEMPTS)
    return _Failure(error.message, ATTEMPTS, is_final=error.name.startswith("AWS_ERROR_S3_"))


def _get(
    source: Source,
    address: str,
    start: int,
    on_body: Callable[..., None],
    **options: Any,
) -> None:
    """One request of a client with threads of its own.

    Nothing of them is left, since they may not be in a snapshot. They end once nobody refers to
    what is named here.
    """
    url = urlsplit(address)
    headers = HttpHeaders(
        [
            ("Host", url.netloc),
            ("If-Match", source.etag),
            ("Accept-Encoding", "identity"),
            ("Range", f"bytes={start}-{source.size - 1}"),
        ]
    )
    threads = EventLoopGroup(_THREADS)
    bootstrap = ClientBootstrap(threads, DefaultHostResolver(threads))
    client = _client(bootstrap, source.ca_bundle if url.scheme == "https" else None, options)
    request = client.make_request(
        type=S3RequestType.GET_OBJECT,
        request=HttpRequest("GET", f"{url.path}?{url.query}", headers),
        on_body=on_body,
    )
    ends = [each.shutdown_event for each in (request, client, bootstrap, threads)]
    try:
        request.finished_future.result()
    finally:
        request.cancel()
        del request, client, bootstrap, threads
        for has_ended in ends:
            has_ended.wait()
        join_all_native_threads(timeout_sec=_JOIN_TIMEOUT)


def _client(
    bootstrap: ClientBootstrap, ca_bundle: str | None, options: Mapping[str, Any]
) -> S3Client:
    tls = None
    if ca_bundle is not None:
        trust = TlsContextOptions()
        trust.override_default_trust_store_from_path(None, ca_bundle)
        tls = ClientTlsContext(trust).new_connection_options()
    return S3Client(  # type: ignore[call-arg]  # the annotations are of an older version
        bootstrap=bootstrap,
        region="us-east-1",  # where nothing is signed by the client, it doesn't matter
        tls_mode=S3RequestTlsMode.DISABLED if tls is None else S3RequestTlsMode.ENABLED,
        tls_connection_options=tls,  # type: ignore[arg-type]  # wrong annotations
        memory_limit=_MEMORY_LIMIT,
        connect_timeout_ms=_CONNECT_TIMEOUT,
        retry_config=S3RetryConfig(
            max_retries=ATTEMPTS - 1,
            backoff_scale_factor_ms=_BACKOFF_MILLISECONDS,
            max_backoff_secs=_LONGEST_BACKOFF,
            initial_bucket_capacity=_RETRIES_OF_ALL_PARTS,
        ),
        **options,
    )


def reason(status: int, code: str, message: str) -> str:
    """What is wrong, from S3's answer."""
    if status == 412:
        return "the object was replaced while it was downloaded"
    if status == 407:
        return "the proxy that the environment names wants another user name or password (407)"
    return f"{status} {': '.join(text for text in (code, message) if text)}".rstrip()


def _told(body: bytes | None) -> tuple[str, str]:
    """Code and message of S3's error document, empty if there is none."""
    try:
        document = ElementTree.fromstring(body or b"")
    except ElementTree.ParseError:
        return "", ""
    return document.findtext("Code") or "", document.findtext("Message") or ""
