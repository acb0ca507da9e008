"""A server of one file that speaks as much S3 as downloads need, as fast as the loopback allows.

``python -m benchmarks.object_server FILE`` prints its port. The kernel sends the file from its page
cache (``sendfile``), so the server takes next to nothing of the machine that the client could use.
With ``--rate`` and ``--delay`` each connection is as slow as one to S3. With ``--tls`` it speaks
HTTPS, which takes the server's CPU, too.
"""

import argparse
import email.utils
import mmap
import os
import socket
import ssl
import threading
import time
import urllib.parse
from pathlib import Path

_STEP = 2**20
"""Bytes that are sent at once where the rate is limited or TLS encrypts them."""


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--checksum", default="", help="value of x-amz-checksum-crc64nvme")
    parser.add_argument("--rate", type=float, default=0, help="MB/s of one connection")
    parser.add_argument("--delay", type=float, default=0, help="ms to a response's first byte")
    parser.add_argument("--tls", type=Path, help="file with certificate and key")
    options = parser.parse_args()
    server = _ObjectServer(options)
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=server.serve, args=(connection,), daemon=True).start()


class _ObjectServer:
    def __init__(self, options: argparse.Namespace) -> None:
        self._fd = os.open(options.file, os.O_RDONLY)
        self._size = os.fstat(self._fd).st_size
        self._content = memoryview(mmap.mmap(self._fd, 0, prot=mmap.PROT_READ))
        self._tls: ssl.SSLContext | None = None
        if options.tls is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(options.tls)
        self._rate = options.rate * 1e6
        self._delay = options.delay / 1e3
        common = {
            "ETag": '"0123456789abcdef-opaque"',
            "Last-Modified": email.utils.formatdate(usegmt=True),
            "Accept-Ranges": "bytes",
        }
        if options.checksum:
            common["x-amz-checksum-crc64nvme"] = options.checksum
            common["x-amz-checksum-type"] = "FULL_OBJECT"
        self._common = "".join(f"{name}: {value}\r\n" for name, value in common.items())

    def serve(self, connection: socket.socket) -> None:
        """One connection, until the client closes it."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True)
        with connection, connection.makefile("rb") as requests:
            try:
                while line := requests.readline():
                    headers = {}
                    while (header := requests.readline().strip()) != b"":
                        name, _, value = header.partition(b":")
                        headers[name.lower()] = value.strip().decode()
                    self._answer(connection, line.split(), headers.get(b"range"))
            except ConnectionError:
                return

    def _answer(self, connection: socket.socket, request: list[bytes], wanted: str | None) -> None:
        start, end, status = 0, self._size, "200 OK"
        lines = self._common
        if wanted is not None:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or self._size) + 1, self._size)
            status = "206 Partial Content"
            lines += f"Content-Range: bytes {start}-{end - 1}/{self._size}\r\n"
            # A checksum of the whole says nothing of a part, so S3 leaves it out.
            lines = "".join(
                line for line in lines.splitlines(keepends=True) if "checksum" not in line
            )
        if "list-type" in urllib.parse.urlsplit(request[1].decode()).query:
            raise ConnectionError("buckets are not listed here")
        time.sleep(self._delay)
        head = f"HTTP/1.1 {status}\r\n{lines}Content-Length: {end - start}\r\n\r\n"
        connection.sendall(head.encode())
        if request[0] == b"GET":
            self._send(connection, start, end)

    def _send(self, connection: socket.socket, start: int, end: int) -> None:
        began, first = time.monotonic(), start
        while start < end:
            if isinstance(connection, ssl.SSLSocket):
                start += connection.send(self._content[start : min(start + _STEP, end)])
            else:
                step = min(_STEP, end - start) if self._rate else end - start
                start += os.sendfile(connection.fileno(), self._fd, start, step)
            if self._rate:
                time.sleep(max(0.0, began + (start - first) / self._rate - time.monotonic()))


if __name__ == "__main__":
    main()
