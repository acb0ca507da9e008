"""Server-sent events read from bytes that are cut anywhere: their data.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

from shared.upstreams.dialects.json_values import MalformedAnswerError

_LONGEST_EVENT = 2**20
"""Bytes: to read more at once would hold up other requests."""


class ServerSentEvents:
    """Reader of one event stream, in time that grows with its bytes, however they are cut."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        """Bytes of ``_data``."""
        self._ends_with_cr = False

    def feed(self, part: bytes) -> list[bytes]:
        """The data of the events that are complete with the stream's next bytes.

        Raises `MalformedAnswerError` for an event without an end.
        """
        if self._ends_with_cr and part:
            part = part.removeprefix(b"\n")  # of the line's end that has been seen
            self._ends_with_cr = False
        if part:
            self._ends_with_cr = part.endswith(b"\r")
        first, *rest = part.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._line += first
        events: list[bytes] = []
        for piece in rest:
            self._end_line(events)
            self._line += piece
        if len(self._line) + self._size > _LONGEST_EVENT:
            raise MalformedAnswerError("an event is too long")
        return events

    def _end_line(self, events: list[bytes]) -> None:
        line, self._line = bytes(self._line), bytearray()
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
            self._size += len(line)
        elif not line and self._data:
            events.append(b"\n".join(self._data))
            self._data.clear()
            self._size = 0
