"""The server handler: uvicorn inside the container, to which Modal's proxy passes requests."""

from __future__ import annotations

import signal
import socket
import threading
from typing import TYPE_CHECKING

from functions.http.server.uvicorn_server import GracefulServer

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from shared.runtime.state import ServerState


class ThreadedServer:
    """A server on a thread. Modal's runtime keeps the main thread, with its signals."""

    def __init__(self, app: ASGIApp, state: ServerState, *, port: int, grace_period: float) -> None:
        """Listen on ``port`` and start to serve; ``grace_period`` in seconds."""
        self._listener = socket.create_server(("0.0.0.0", port), backlog=2048)
        self._listener.setblocking(False)
        self._server = GracefulServer(app, state, grace_period)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._listener],), name="server", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    def close(self) -> None:
        """Let requests end within the grace period, cut off the others, and stop."""
        self._server.handle_exit(signal.SIGTERM, None)
        self._thread.join()
