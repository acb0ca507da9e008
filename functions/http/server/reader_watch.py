"""Slow readers: how much of their answers clients have not taken, and since when."""

from __future__ import annotations

import array
import asyncio
import fcntl
import sys
import termios

from functions.http.server.body_meter import TRANSFER_BYTES


class ReaderWatch:
    """Watches the client of one connection while nothing more is written to it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._begun: float | None = None
        self._size = 0

    def begin(self, now: float) -> None:
        """Nothing is written from now on, before the client reads."""
        self._begun = now
        self._size = self._unread_size()

    def end(self) -> None:
        """Something may be written again."""
        self._begun = None

    def check(self, now: float, seconds: float, *, is_writing: bool) -> None:
        """Disconnect the client if it has taken too little for ``seconds``.

        ``is_writing``: whether an answer is being sent, which stops writing when it has to.
        """
        if not self._transport.get_write_buffer_size():
            self._begun = None
        elif self._begun is None:
            if not is_writing:
                self.begin(now)
        elif now - self._begun >= seconds:
            before = self._size
            self.begin(now)
            if before - self._size < TRANSFER_BYTES:
                self._transport.abort()

    def _unread_size(self) -> int:
        """Bytes that the client's machine has not taken, as far as they are known."""
        size = self._transport.get_write_buffer_size()
        if sys.platform == "linux":  # its kernel may hold megabytes
            held = array.array("i", [0])
            fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, held)
            size += held[0]
        return size
