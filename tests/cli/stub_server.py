"""A server of OpenAI's chat API that says what a test wants, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class StubServer(ThreadingHTTPServer):
    """Answers with ``body``, a stream's bytes; holds its end back while ``is_open`` is not set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.body = b""
        self.is_open = threading.Event()
        self.is_open.set()
        self.has_answered = threading.Event()
        self.asked: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def say(self, *texts: str, newline: str = "\n") -> None:
        """Answer with these pieces of text from now on."""
        chunks = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
        events = [json.dumps(chunk, ensure_ascii=False) for chunk in chunks]
        text = "".join(f"data: {event}{2 * newline}" for event in [*events, "[DONE]"])
        self.body = text.encode()


class _Handler(BaseHTTPRequestHandler):
    server: StubServer

    def do_POST(self) -> None:
        """See `StubServer`."""
        length = int(self.headers["content-length"])
        self.server.asked.append(json.loads(self.rfile.read(length)))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.body)
        self.server.has_answered.set()
        self.server.is_open.wait()

    def do_GET(self) -> None:
        """A stored completion, whichever is asked for."""
        body = b'{"id": "chatcmpl-1"}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing."""


@contextmanager
def stub_server() -> Iterator[StubServer]:
    """A stub, on a thread."""
    server = StubServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.is_open.set()
        server.shutdown()
        thread.join()
        server.server_close()
