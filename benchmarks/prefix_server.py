"""A server that speaks as much S3 as a store of prefixes needs, in memory.

``python -m benchmarks.prefix_server DIRECTORY`` serves its files and prints its port.
With ``--delay`` and ``--rate`` each connection is as slow as one to S3.
"""

import argparse
import socketserver
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

_STEP = 2**18
"""Bytes that are sent at once where the rate is limited."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    objects: ClassVar[dict[str, bytes]] = {}
    delay: ClassVar[float] = 0.0
    rate: ClassVar[float] = 0.0

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        time.sleep(self.delay)
        is_new = self.path not in self.objects
        if is_new:
            self.objects[self.path] = body
        self._answer(200 if is_new else 412, b"" if is_new else _error("PreconditionFailed"))

    def do_GET(self) -> None:
        time.sleep(self.delay)
        data = self.objects.get(self.path)
        if data is None:
            self._answer(404, _error("NoSuchKey"))
            return
        first, _, last = self.headers["range"].removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last) + 1]
        end = int(first) + len(part) - 1
        self._answer(206, part, {"Content-Range": f"bytes {first}-{end}/{len(data)}"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        began = time.monotonic()
        view, n_sent = memoryview(body), 0
        while n_sent < len(body):
            step = _STEP if self.rate else len(body)
            self.wfile.write(view[n_sent : n_sent + step])
            n_sent += step
            if self.rate:
                time.sleep(max(0.0, began + n_sent / self.rate - time.monotonic()))

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the log would take time."""


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 256


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rate", type=float, default=0, help="MB/s of one connection")
    parser.add_argument("--delay", type=float, default=0, help="ms to a response's first byte")
    options = parser.parse_args()
    _Handler.rate, _Handler.delay = options.rate * 1e6, options.delay / 1e3
    for path in options.directory.rglob("*"):
        if path.is_file():
            key = f"/prefixes/x/{path.relative_to(options.directory)}"
            _Handler.objects[key] = path.read_bytes()
    with _Server(("127.0.0.1", 0), _Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
