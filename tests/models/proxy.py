"""A proxy that tunnels (CONNECT) and forwards (absolute addresses) to one server."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Proxy:
    """Goes to ``port`` of this machine, whatever host it is asked for."""

    def __init__(self, port: int, login: str = "") -> None:
        """``login`` is ``USER:PASSWORD``, which it then wants to have."""
        self._port = port
        self._login = base64.b64encode(login.encode()) if login else b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.requests: list[str] = []
        """The first line of each connection."""

    @contextmanager
    def running(self) -> Iterator[Proxy]:
        """While it runs."""
        threading.Thread(target=self._accept, daemon=True).start()
        with self._listener:
            yield self

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(65536)
            self.requests.append(head.partition(b"\r\n")[0].decode())
            if self._login and b"Basic " + self._login not in head:
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", self._port)) as server:
                if head.startswith(b"CONNECT "):
                    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                else:
                    server.sendall(head)
                back = threading.Thread(target=_copy, args=(server, client), daemon=True)
                back.start()
                _copy(client, server)
                back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
