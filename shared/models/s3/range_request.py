"""Range request: one connection's part of a download, put in place.

Python holds the interpreter's lock for every byte that passes through its objects. Here none does:
the socket fills a small buffer that stays in the CPU's cache, where it is hashed, and `os.pwrite`
puts it where it belongs, all without the lock. Nothing here knows of S3 beyond its error documents.
"""

from __future__ import annotations

import http.client
import os
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol
from xml.etree import ElementTree

from shared.models.s3.http_connection import HttpConnection, ProxyError

BUFFER_SIZE = 512 * 2**10
"""Bytes that are received, hashed and written at once: what fits into a core's cache. Half of it
takes a tenth more of CPU time, since the system wakes the thread more often."""
_BUSY = (408, 429, 500, 502, 503, 504)
"""Statuses after which S3 asks to try again (503 is its "Slow Down")."""
_EXPIRED = ("ExpiredToken", "TokenRefreshRequired")
"""Codes of status 400 that mean what a 403 may mean: the address was signed too long ago."""


class DownloadError(Exception):
    """The file can't be had; the message says why."""


class TryAgainError(Exception):
    """This request failed, another one may not."""


class Source(Protocol):
    """Where the file is. Its methods are called from several threads."""

    def url(self, refused: str = "") -> str:
        """An address to GET, and not ``refused``: signed ones expire. Raises `DownloadError`."""

    def connect(self, url: str) -> HttpConnection:
        """A connection for requests to that address."""


class TakesBytes(Protocol):
    """Something that hashes."""

    def update(self, data: memoryview, /) -> None:
        """Take further bytes."""


@dataclass(slots=True)
class Range:
    """Bytes ``position`` to ``end`` (exclusive) are missing."""

    number: int
    position: int
    end: int
    hash: TakesBytes | None = None
    """Takes the bytes in order, as they arrive."""
    is_stored: bool = False
    """Whether all bytes are in place already and have only to be hashed."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return self.position == self.end

    def follows(self, other: Range) -> bool:
        """Whether one request can ask for both, ``other`` first."""
        return self.position == other.end and not (self.is_stored or other.is_stored)


class RangeRequests:
    """One thread's connection and buffer."""

    def __init__(
        self,
        source: Source,
        headers: dict[str, str],
        size: int,
        fd: int,
        arrived: Callable[[Range, int], bool],
    ) -> None:
        """For a file of ``size`` bytes on its way into ``fd``.

        ``arrived`` is told of bytes that are in place, and says whether to go on.
        """
        self._source = source
        self._headers = headers
        self._size = size
        self._fd = fd
        self._arrived = arrived
        self._buffer = memoryview(bytearray(BUFFER_SIZE))
        self._connection: HttpConnection | None = None
        self._address = ""
        self._refused = ""

    def close(self) -> None:
        """Close the connection, to begin anew."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, parts: Sequence[Range]) -> None:
        """Request what is missing of ranges, one behind the other, and put it in place.

        Raises `TryAgainError` and `DownloadError`. What arrived before is kept.
        """
        first, end = parts[0].position, parts[-1].end
        try:
            response = self._request(first, end)
            self._check(response, first, end)
            self._receive(response, parts)
        except ssl.SSLCertVerificationError as error:
            raise DownloadError(f"the server's certificate: {error.verify_message}") from error
        except ProxyError as error:
            raise DownloadError(str(error)) from error
        except (OSError, http.client.HTTPException) as error:
            raise TryAgainError(str(error) or type(error).__name__) from error

    def read_back(self, part: Range) -> None:
        """Hash a range that is in place already; raises `DownloadError`."""
        while not part.is_complete:
            window = self._buffer[: part.end - part.position]
            count = read(self._fd, window, part.position)
            if part.hash is not None:
                part.hash.update(window[:count])
            if not self._arrived(part, count):
                return

    def _request(self, first: int, end: int) -> http.client.HTTPResponse:
        self._address = self._source.url(self._refused)
        if self._connection is None:
            self._connection = self._source.connect(self._address)
        wanted = f"bytes={first}-{end - 1}"
        return self._connection.get(self._address, {**self._headers, "Range": wanted})

    def _check(self, response: http.client.HTTPResponse, first: int, end: int) -> None:
        """Whether it is the answer to the question."""
        wanted = f"bytes {first}-{end - 1}/{self._size}"
        got = response.getheader("Content-Range", "")
        if response.status == 206 and got == wanted:
            self._refused = ""
            return
        if response.status == 206:
            raise DownloadError(f"the server sent {got or 'no range'} instead of {wanted}")
        if response.status == 200:
            raise DownloadError("the server ignores Range, so it can't be S3")
        if response.status == 412:
            raise DownloadError("the object was replaced while it was downloaded")
        code, message = _error(response)
        reason = f"{response.status} {': '.join(text for text in (code, message) if text)}"
        if (response.status == 403 or code in _EXPIRED) and not self._refused:
            self._refused = self._address
            raise TryAgainError(reason)
        raise (TryAgainError if response.status in _BUSY else DownloadError)(reason)

    def _receive(self, response: http.client.HTTPResponse, parts: Sequence[Range]) -> None:
        for part in parts:
            while not part.is_complete:
                window = self._buffer[: part.end - part.position]
                count = response.readinto(window)
                if not count:
                    raise TryAgainError(f"the connection ended at byte {part.position}")
                if part.hash is not None:
                    part.hash.update(window[:count])
                _write(self._fd, window[:count], part.position)
                if not self._arrived(part, count):
                    return
        # Reads the end of the response, without which the connection could not be used again.
        response.read()


def read(fd: int, buffer: memoryview, offset: int) -> int:
    """Fill ``buffer``, as far as it goes at once; returns the number of bytes, at least 1."""
    try:
        count = os.preadv(fd, [buffer], offset)
    except OSError as error:
        raise DownloadError(f"can't read what was written: {error.strerror}") from error
    if not count:
        raise DownloadError("what was written is gone: another process truncated the file")
    return count


def _write(fd: int, data: memoryview, offset: int) -> None:
    """All of ``data``: a write may be short, for instance before the disk is full."""
    try:
        while data:
            count = os.pwrite(fd, data, offset)
            data, offset = data[count:], offset + count
    except OSError as error:  # not one of the network's, which are worth another attempt
        raise DownloadError(f"can't write: {error.strerror}") from error


def _error(response: http.client.HTTPResponse) -> tuple[str, str]:
    """Code and message of S3's error document, or the status line's reason."""
    try:
        document = ElementTree.fromstring(response.read(64 * 2**10))
    except ElementTree.ParseError:
        return response.reason, ""
    return document.findtext("Code") or response.reason, document.findtext("Message") or ""
