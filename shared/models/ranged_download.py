"""Downloads a file over HTTP by parallel ranged GETs, straight into place.

Python holds the interpreter's lock for every byte that passes through its objects. Here none does:
the socket fills a small buffer that stays in the CPU's cache, and `os.pwrite` puts that where it
belongs, both without the lock. Nothing here knows of S3 beyond its error documents.
"""

from __future__ import annotations

import http.client
import logging
import os
import random
import ssl
import threading
from collections.abc import Callable, Set
from dataclasses import dataclass
from urllib.parse import urlsplit
from xml.etree import ElementTree

from shared.models.http_connection import connect

CONNECTIONS = 16
"""Parallel requests. A single one gets 50 to 100 MB/s from S3, whatever the machine could take."""
RANGE_SIZE = 16 * 2**20
"""Bytes of one request: long enough to outweigh its first byte's delay, short enough that the
connections end together."""
_BUFFER_SIZE = 256 * 2**10
_PROBE_SIZE = 4 * 2**20
_PROBE_SECONDS = 0.01
"""If the first connection has `_PROBE_SIZE` by then, this machine is the bottleneck, not S3, and
more than two connections would only take the cores from each other."""
_ATTEMPTS = 8
"""Failures in a row, without a byte between them, after which a range is given up."""
_LONGEST_PAUSE = 5.0
_BUSY = (408, 429, 500, 502, 503, 504)
"""Statuses after which S3 asks to try again (503 is its "Slow Down")."""

_log = logging.getLogger(__name__)


class DownloadError(Exception):
    """The file can't be had; the message says why."""


class _TryAgainError(Exception):
    """This request failed, another one may not."""


@dataclass(slots=True)
class _Range:
    """Bytes ``position`` to ``end`` (exclusive) are missing."""

    number: int
    position: int
    end: int

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return self.position == self.end


class RangedDownload:
    """A file on its way into ``fd``, whose size must be set already.

    ``url`` gives the address to GET, a new one if its argument is true: signed ones expire.
    ``etag`` makes all ranges parts of one version: a file that changes meanwhile is an error.
    ``done`` has the numbers of ranges that are in place already. ``on_bytes`` is told of bytes that
    arrive and ``on_range`` of numbers of ranges that are complete, both from any thread.
    """

    def __init__(
        self,
        url: Callable[[bool], str],
        size: int,
        fd: int,
        *,
        etag: str,
        done: Set[int] = frozenset(),
        on_bytes: Callable[[int], None] = lambda _: None,
        on_range: Callable[[int], None] = lambda _: None,
        connections: int = CONNECTIONS,
        range_size: int = RANGE_SIZE,
    ) -> None:
        self._url = url
        self._size = size
        self._fd = fd
        self._headers = {"If-Match": etag, "Accept-Encoding": "identity"}
        self._on_bytes = on_bytes
        self._on_range = on_range
        self._ranges = [
            _Range(number, start, min(start + range_size, size))
            for number, start in enumerate(range(0, size, range_size))
        ]
        for part in self._ranges:
            if part.number in done:
                on_bytes(part.end - part.position)
                part.position = part.end
        self._missing = iter([part for part in self._ranges if not part.is_complete])
        self._prefix = 0  # the first of the ranges that is not complete
        self._awaited = 0
        self._received = 0
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._error: DownloadError | None = None
        self._threads = [
            threading.Thread(target=self._work, name=f"download-{number}", daemon=True)
            for number in range(min(connections, len(self._ranges)))
        ]

    def start(self) -> None:
        """Begin."""
        if not self._threads:
            return
        self._threads[0].start()
        with self._changed:
            is_near = self._changed.wait_for(
                lambda: self._received >= _PROBE_SIZE or self._error is not None, _PROBE_SECONDS
            )
        if is_near:
            del self._threads[2:]
        for thread in self._threads[1:]:
            thread.start()

    def wait_until(self, end: int) -> None:
        """Return when the first ``end`` bytes are there; raises `DownloadError`."""
        with self._changed:
            self._awaited = end
            while self._error is None and not self._has(end):
                self._changed.wait()
            if self._error is not None:
                raise self._error

    def stop(self) -> None:
        """End all threads, complete or not; the file descriptor is no longer used after it."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _has(self, end: int) -> bool:
        ranges = self._ranges
        while self._prefix < len(ranges) and ranges[self._prefix].is_complete:
            self._prefix += 1
        return self._prefix == len(ranges) or ranges[self._prefix].position >= end

    def _take(self) -> _Range | None:
        with self._changed:
            return None if self._stopping.is_set() else next(self._missing, None)

    def _work(self) -> None:
        """One connection: range after range until there is none."""
        worker = _Worker(self._url, self._headers, self._size, self._fd, self._arrived)
        try:
            while (part := self._take()) is not None:
                self._fetch(worker, part)
                if part.is_complete:
                    self._on_range(part.number)
        except DownloadError as error:
            self._fail(error)
        except Exception as error:  # such as a full disk; whoever waits re-raises it
            self._fail(DownloadError(str(error) or type(error).__name__))
        finally:
            worker.close()

    def _fetch(self, worker: _Worker, part: _Range) -> None:
        """Get a range, from wherever the last attempt ended."""
        failures = 0
        while not part.is_complete and not self._stopping.is_set():
            before = part.position
            try:
                worker.get(part)
            except _TryAgainError as error:
                failures = 1 if part.position > before else failures + 1
                if failures == _ATTEMPTS:
                    raise DownloadError(f"{error} ({_ATTEMPTS} attempts)") from error
                _log.debug("bytes %d-%d again: %s", part.position, part.end - 1, error)
                worker.close()
                # Full jitter: connections that were refused together don't return together.
                self._stopping.wait(random.uniform(0, min(_LONGEST_PAUSE, 0.1 * 2**failures)))

    def _arrived(self, part: _Range, count: int) -> bool:
        """Note bytes that are in place; says whether to go on."""
        with self._changed:
            part.position += count
            self._received += count
            # Waking whoever waits for nothing would take the interpreter's lock from the others.
            is_probe = self._received - count < _PROBE_SIZE <= self._received
            if is_probe or part.is_complete or part.position >= self._awaited:
                self._changed.notify_all()
        self._on_bytes(count)
        return not self._stopping.is_set()

    def _fail(self, error: DownloadError) -> None:
        self._stopping.set()
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()


class _Worker:
    """One thread's connection and buffer."""

    def __init__(
        self,
        url: Callable[[bool], str],
        headers: dict[str, str],
        size: int,
        fd: int,
        arrived: Callable[[_Range, int], bool],
    ) -> None:
        self._url = url
        self._headers = headers
        self._size = size
        self._fd = fd
        self._arrived = arrived
        self._buffer = memoryview(bytearray(_BUFFER_SIZE))
        self._connection: http.client.HTTPConnection | None = None
        self._was_refused = False

    def close(self) -> None:
        """Close the connection, to begin anew."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, part: _Range) -> None:
        """Request what is missing of a range and put it in place.

        Raises `_TryAgainError` and `DownloadError`. What arrived before is kept.
        """
        try:
            response = self._request(part)
            self._check(response, part)
            self._receive(response, part)
        except ssl.SSLCertVerificationError as error:
            raise DownloadError(f"the server's certificate: {error.verify_message}") from error
        except (OSError, http.client.HTTPException) as error:
            raise _TryAgainError(str(error) or type(error).__name__) from error

    def _request(self, part: _Range) -> http.client.HTTPResponse:
        url = self._url(self._was_refused)
        if self._connection is None:
            self._connection = connect(url)
        address = urlsplit(url)
        headers = {**self._headers, "Range": f"bytes={part.position}-{part.end - 1}"}
        self._connection.request("GET", f"{address.path}?{address.query}", headers=headers)
        return self._connection.getresponse()

    def _check(self, response: http.client.HTTPResponse, part: _Range) -> None:
        """Whether it is the answer to the question."""
        wanted = f"bytes {part.position}-{part.end - 1}/{self._size}"
        got = response.getheader("Content-Range", "")
        if response.status == 206 and got == wanted:
            self._was_refused = False
            return
        if response.status == 206:
            raise DownloadError(f"the server sent {got or 'no range'} instead of {wanted}")
        if response.status == 200:
            raise DownloadError("the server ignores Range, so it can't be S3")
        if response.status == 412:
            raise DownloadError("the object was replaced while it was downloaded")
        reason = f"{response.status} {_reason(response)}"
        if response.status == 403 and not self._was_refused:
            self._was_refused = True  # perhaps what the address was signed with has expired
            raise _TryAgainError(reason)
        raise (_TryAgainError if response.status in _BUSY else DownloadError)(reason)

    def _receive(self, response: http.client.HTTPResponse, part: _Range) -> None:
        while not part.is_complete:
            window = self._buffer[: part.end - part.position]
            count = response.readinto(window)
            if not count:
                raise _TryAgainError(f"the connection ended at byte {part.position}")
            _write(self._fd, window[:count], part.position)
            if not self._arrived(part, count):
                return
        # Reads the end of the response, without which the connection could not be used again.
        response.read()


def _write(fd: int, data: memoryview, offset: int) -> None:
    """All of ``data``: a write may be short, for instance before the disk is full."""
    try:
        while data:
            count = os.pwrite(fd, data, offset)
            data, offset = data[count:], offset + count
    except OSError as error:  # not one of the network's, which are worth another attempt
        raise DownloadError(f"can't write: {error.strerror}") from error


def _reason(response: http.client.HTTPResponse) -> str:
    """Code and message of S3's error document, or the status line's reason."""
    try:
        document = ElementTree.fromstring(response.read(64 * 2**10))
    except ElementTree.ParseError:
        return response.reason
    code, message = document.findtext("Code"), document.findtext("Message")
    return ": ".join(part for part in (code, message) if part) or response.reason
