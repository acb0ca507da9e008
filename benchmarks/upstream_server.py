"""A fake upstream for benchmarks, a thread for each connection.

``python -m benchmarks.upstream_server PORT`` serves it.
A request's body says what its answer is: ``bytes`` of one body, in ``chunks`` of a size if that is
given, or ``events`` of a stream at ``pause`` seconds. Each event's text is the moment it was sent,
on the machine's monotonic clock. The field ``user`` may have the same as JSON: adapter mode sends
no fields that it does not know.
"""

import json
import socket
import sys
import threading
import time
from typing import Any

_BLOCK = 2**20
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n%b\r\n\r\n"
_CHUNKED = b"transfer-encoding: chunked"
_EVENT = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"big",'
    b'"choices":[{"index":0,"delta":{"content":"sent %.7f"},"logprobs":null,'
    b'"finish_reason":null}]}\n\n'
)


def main() -> None:
    """Serve until the process ends."""
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_serve, args=(connection,), daemon=True).start()


def _serve(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    received = b""
    try:
        while True:
            while b"\r\n\r\n" not in received:
                received += _received(connection)
            head, _, received = received.partition(b"\r\n\r\n")
            names = (line.partition(b":") for line in head.lower().split(b"\r\n"))
            length = next((int(v) for name, _, v in names if name == b"content-length"), 0)
            while len(received) < length:
                received += _received(connection)
            body, received = received[:length], received[length:]
            _answer(connection, json.loads(body) if body else {})
    except OSError:
        connection.close()


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionResetError
    return data


def _answer(connection: socket.socket, asked: dict[str, Any]) -> None:
    asked = {**asked, **json.loads(asked.get("user", "{}"))}
    if (size := int(asked.get("bytes", 0))) and (chunk := int(asked.get("chunks", 0))):
        block = _chunk(b"x" * chunk) * max(1, _BLOCK // chunk)
        connection.sendall(_HEAD % (b"text/event-stream", _CHUNKED))
        for _ in range(size // (max(1, _BLOCK // chunk) * chunk)):
            connection.sendall(block)
        connection.sendall(b"0\r\n\r\n")
    elif size:
        connection.sendall(_HEAD % (b"application/json", b"content-length: %d" % size))
        block = b"x" * _BLOCK
        for _ in range(size // _BLOCK):
            connection.sendall(block)
    else:
        connection.sendall(_HEAD % (b"text/event-stream", _CHUNKED))
        for _ in range(int(asked.get("events", 0))):
            time.sleep(asked.get("pause", 0))
            connection.sendall(_chunk(_EVENT % time.monotonic()))
        connection.sendall(_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")


def _chunk(part: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(part), part)


if __name__ == "__main__":
    main()
