"""Lingering close: what a refused client still sends is read and dropped, for two seconds.

What a client sends to a closed connection makes its kernel drop the answer unread.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.flow_control import FlowControl

from functions.http.server.connection_limits import ConnectionState

_SECONDS = 2.0


class LingeringClose:
    """Closes one connection when its client has closed it, or soon after that."""

    def __init__(
        self, transport: asyncio.Transport, flow: FlowControl, state: ConnectionState
    ) -> None:
        self.has_begun = False
        self._transport = transport
        self._flow = flow
        self._state = state
        self._since = 0.0

    def begin(self) -> None:
        """Write nothing more. Where too many linger, the connection is closed at once."""
        if self.has_begun or self._transport.is_closing():
            return
        if not self._state.may_linger():
            self._transport.close()
            return
        self.has_begun = True
        self._since = self._state.now
        self._state.n_lingering += 1
        self._flow.resume_reading()
        self._transport.write_eof()

    def check(self) -> None:
        """End it once its time is over."""
        if self._state.now - self._since >= _SECONDS:
            self._transport.abort()

    def end(self) -> None:
        """Note that the connection is gone."""
        if self.has_begun:
            self._state.n_lingering -= 1
