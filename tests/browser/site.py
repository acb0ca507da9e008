"""Web site of a test, at an origin of its own, to which the script of its page reports."""

from __future__ import annotations

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REPORT_SECONDS = 120.0
"""Far more than a page takes: only a hang should reach it."""


class Site:
    """A page at an origin of its own, and what its script has reported (``POST /report``)."""

    def __init__(self, page: str = "") -> None:
        self.page = page
        self._reports: queue.SimpleQueue[Any] = queue.SimpleQueue()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = site.page.encode() if self.path == "/" else b""
                self.send_response(200 if body else 404)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                site._reports.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"

    def report(self) -> Any:
        """The next report; raises `queue.Empty` where none comes."""
        return self._reports.get(timeout=REPORT_SECONDS)

    def close(self) -> None:
        """End."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
