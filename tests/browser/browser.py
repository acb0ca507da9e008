"""A browser, and the site whose page it shows: the page's script reports to the site."""

from __future__ import annotations

import json
import os
import queue
import shlex
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

REPORT_SECONDS = 120.0
"""Far more than a page takes: only a hang should reach it."""


_NO_MORE = object()


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
        """The next report; raises `queue.Empty` where none comes, as when the browser has ended."""
        report = self._reports.get(timeout=REPORT_SECONDS)
        if report is _NO_MORE:
            raise queue.Empty
        return report

    def end_reports(self) -> None:
        """Let nobody wait for a further report."""
        self._reports.put(_NO_MORE)

    def close(self) -> None:
        """End."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def showing(command: str, site: Site, home: Path) -> Iterator[None]:
    """A browser that shows the site's page; ``command`` starts it, with the URL as last argument.

    A page that reports nothing fails with what the browser wrote.
    """
    log = home / "browser.log"
    with log.open("wb") as written:
        browser = subprocess.Popen(
            [*shlex.split(command), site.origin],
            env={**os.environ, "HOME": str(home)},
            stdout=written,
            stderr=subprocess.STDOUT,
        )

    def watch() -> None:
        browser.wait()
        site.end_reports()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    except queue.Empty:
        text = log.read_text(encoding="utf-8", errors="replace")
        raise AssertionError(f"the page has reported nothing; the browser says:\n{text}") from None
    finally:
        browser.terminate()
        watcher.join()
