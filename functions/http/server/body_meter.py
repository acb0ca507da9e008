"""Meter of a request's body as it arrives: its size, what its framing costs, and its speed."""

from __future__ import annotations

from shared.protocol.http_errors import bad_http

TRANSFER_BYTES = 16 * 1024
"""What a client has to send of a body, or to take of an answer, within the time for it."""
_FREE_FRAMING = 64 * 1024
"""Bytes that chunk sizes, extensions and trailers may take beyond what the chunks carry."""
_FREE_PARTS, _PART_BYTES = 16384, 8
"""Parts that may be of any size. If there are more, all must be of that size on average."""


class BodyMeter:
    """Counts one body at a time; raises `APIError` 400 for one that is hardly anything but framing.

    Each chunk costs a call, however small it is.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Count another body."""
        self.size = 0
        self._n_parts = 0
        self._framed_size = 0
        self._checked_size = 0

    def add_part(self, size: int) -> None:
        """Count what a chunk, or a trailer, carries."""
        self.size += size
        self._n_parts += 1
        if self._n_parts > _FREE_PARTS and self.size < _PART_BYTES * self._n_parts:
            raise bad_http("its body comes in too many and too small parts")

    def add_framed(self, size: int) -> None:
        """Count bytes that had nothing but this body; those after its last chunk header, too."""
        self._framed_size += size
        if self._framed_size > 2 * self.size + _FREE_FRAMING:
            raise bad_http("its chunks are mostly framing")

    def has_progressed(self) -> bool:
        """Whether enough has come since this was asked last."""
        progress = self.size - self._checked_size
        self._checked_size = self.size
        return progress >= TRANSFER_BYTES
