"""Parallel download of a file over HTTP by ranged GETs, straight into place."""

from __future__ import annotations

import logging
import os
import random
import threading
from collections import deque
from collections.abc import Callable, Sequence, Set

from shared.models.s3.range_request import (
    DownloadError,
    Range,
    RangeRequests,
    Source,
    TakesBytes,
    TryAgainError,
)

CONNECTIONS = 16
"""Parallel requests. A single one gets 50 to 100 MB/s from S3, whatever the machine could take."""
RANGE_SIZE = 16 * 2**20
"""Bytes that are requested and hashed at least: long enough to outweigh the delay of a request's
first byte, short enough that the connections end together."""
_LONGEST_SPAN = 16
"""Ranges of one request. While much is missing, connections ask for several at once, for they get
nothing between a response's end and the next one's first byte."""
_PROBE_SIZE = 4 * 2**20
_PROBE_SECONDS = 0.01
"""If the first connection has `_PROBE_SIZE` by then, this machine is the bottleneck, not S3, and
connections take the cores from each other, and from the server where that is on the same machine:
there are as many as cores but one."""
_ATTEMPTS = 8
"""Failures in a row, without a byte between them, after which a range is given up."""
_LONGEST_PAUSE = 5.0

_log = logging.getLogger("pilotlight.models")


class RangedDownload:
    """A file on its way into ``fd``, whose size must be set already.

    ``etag`` makes all ranges parts of one version: a file that changes meanwhile is an error.
    ``done`` has the numbers of ranges that are in place already. ``hashes``, one for each range or
    none, take the ranges' bytes as they arrive, or those that are in place.
    ``on_bytes`` is told of bytes that arrive and ``on_range`` of numbers of ranges that are
    complete, both from any thread. ``in_order`` says that somebody waits for the first bytes first.
    """

    def __init__(
        self,
        source: Source,
        size: int,
        fd: int,
        *,
        etag: str,
        done: Set[int] = frozenset(),
        hashes: Sequence[TakesBytes] = (),
        on_bytes: Callable[[int], None] = lambda _: None,
        on_range: Callable[[int], None] = lambda _: None,
        connections: int = CONNECTIONS,
        range_size: int = RANGE_SIZE,
        in_order: bool = False,
    ) -> None:
        self._source = source
        self._size = size
        self._fd = fd
        self._headers = {"If-Match": etag, "Accept-Encoding": "identity"}
        self._on_bytes = on_bytes
        self._on_range = on_range
        self._ranges = [
            Range(
                number,
                start,
                min(start + range_size, size),
                hashes[number] if hashes else None,
                is_stored=number in done,
            )
            for number, start in enumerate(range(0, size, range_size))
        ]
        for part in self._ranges:
            if part.is_stored and part.hash is None:
                on_bytes(part.end - part.position)
                part.position = part.end
        self._missing = deque(part for part in self._ranges if not part.is_complete)
        self._longest_span = 1 if in_order else _LONGEST_SPAN
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
            del self._threads[max(1, (os.cpu_count() or 1) - 1) :]
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

    def _take(self) -> list[Range]:
        """Ranges one behind the other: the fewer are left, the fewer; empty when there is none."""
        with self._changed:
            missing = self._missing
            if self._stopping.is_set() or not missing:
                return []
            span = [missing.popleft()]
            longest = min(self._longest_span, len(missing) // (2 * len(self._threads)))
            while len(span) < longest and missing[0].follows(span[-1]):
                span.append(missing.popleft())
            return span

    def _work(self) -> None:
        """One connection: range after range until there is none."""
        requests = RangeRequests(self._source, self._headers, self._size, self._fd, self._arrived)
        try:
            while span := self._take():
                if span[0].is_stored:
                    requests.read_back(span[0])
                else:
                    self._fetch(requests, span)
        except DownloadError as error:
            self._fail(error)
        except Exception as error:  # such as a full disk; whoever waits re-raises it
            self._fail(DownloadError(str(error) or type(error).__name__))
        finally:
            requests.close()

    def _fetch(self, requests: RangeRequests, span: list[Range]) -> None:
        """Get ranges, from wherever the last attempt ended."""
        failures = 0
        while not self._stopping.is_set() and (span := [p for p in span if not p.is_complete]):
            before = span[0].position
            try:
                requests.get(span)
            except TryAgainError as error:
                failures = 1 if span[0].position > before else failures + 1
                if failures == _ATTEMPTS:
                    raise DownloadError(f"{error} ({_ATTEMPTS} attempts)") from error
                _log.debug("bytes from %d again: %s", span[0].position, error)
                requests.close()
                # Full jitter: connections that were refused together don't return together.
                self._stopping.wait(random.uniform(0, min(_LONGEST_PAUSE, 0.1 * 2**failures)))

    def _arrived(self, part: Range, count: int) -> bool:
        """Note bytes that are in place; says whether to go on."""
        with self._changed:
            part.position += count
            self._received += 0 if part.is_stored else count
            # Waking whoever waits for nothing would take the interpreter's lock from the others.
            is_probe = self._received - count < _PROBE_SIZE <= self._received
            if is_probe or part.is_complete or part.position >= self._awaited:
                self._changed.notify_all()
        self._on_bytes(count)
        if part.is_complete and not part.is_stored:
            self._on_range(part.number)
        return not self._stopping.is_set()

    def _fail(self, error: DownloadError) -> None:
        self._stopping.set()
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()
