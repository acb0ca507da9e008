"""A stand-in for the Hugging Face hub: one repository with one file, over real HTTP."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REPOSITORY = "owner/tiny-models"
FILE = "sub/model.gguf"


@contextmanager
def local_hub(content: bytes) -> Iterator[tuple[str, list[str]]]:
    """The hub's URL, and the requests that it gets, each as ``METHOD PATH``."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            requests.append(f"{self.command} {self.path}")
            found = self.path == f"/{REPOSITORY}/resolve/main/{FILE}"
            body = content if found else b'{"error": "Entry not found"}'
            self.send_response(200 if found else 404)
            self.send_header("content-length", str(len(body)))
            self.send_header("x-repo-commit", "0" * 40)
            if found:
                self.send_header("etag", f'"{hashlib.sha256(content).hexdigest()}"')
            else:
                self.send_header("x-error-code", "EntryNotFound")
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
