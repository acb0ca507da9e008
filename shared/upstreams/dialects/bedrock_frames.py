"""Frames of AWS' event stream encoding (``application/vnd.amazon.eventstream``).

https://smithy.io/2.0/aws/amazon-eventstream.html. botocore decodes and checks them; it is given
whole ones, since its own buffer copies all that it has whenever bytes are added.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import error as struct_error
from typing import Any

from botocore.eventstream import EventStreamBuffer, ParserError

from shared.upstreams.dialects.json_values import MalformedAnswerError

_SIZE_AROUND = 16
"""Bytes of a frame beside its headers and its payload."""
_LONGEST = 2**20
"""To read more at once would hold up other requests."""
_LONGEST_HEADERS = 4096
"""Bedrock's take about 100; botocore takes time for them that grows with the square."""


class EventFrames:
    """Reader of frames from bytes that are cut anywhere."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Headers and payload of the frames that are complete with the next bytes.

        Raises `MalformedAnswerError`.
        """
        self._bytes += data
        while len(self._bytes) >= _SIZE_AROUND:
            size = int.from_bytes(self._bytes[:4])
            size_of_headers = int.from_bytes(self._bytes[4:8])
            if size > _LONGEST or size_of_headers > min(size - _SIZE_AROUND, _LONGEST_HEADERS):
                raise MalformedAnswerError("no frame has this size")
            if len(self._bytes) < size:
                return
            frame = bytes(self._bytes[:size])
            del self._bytes[:size]
            yield _decoded(frame)


def _decoded(frame: bytes) -> tuple[dict[str, Any], bytes]:
    buffer = EventStreamBuffer()
    buffer.add_data(frame)
    try:
        message: Any = next(buffer)  # the stubs have its headers as a number
    except (ParserError, StopIteration, KeyError, ValueError, struct_error) as error:
        raise MalformedAnswerError(str(error)) from None
    headers: dict[str, Any] = message.headers
    payload: bytes = message.payload
    return headers, payload
