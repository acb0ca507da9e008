"""A receiver of webhooks on a socket of this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY="


@dataclass(slots=True)
class Received:
    """What came, and what is answered: a status for each request, the last one for all others."""

    url: str
    statuses: list[int] = field(default_factory=lambda: [204])
    requests: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)
    blocks: threading.Event | None = None
    """Until it is set nobody is answered."""


@contextmanager
def webhook_receiver() -> Iterator[Received]:
    """A receiver while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.requests.append((self.path, dict(self.headers.items()), body))
            if received.blocks is not None:
                received.blocks.wait()
            statuses = received.statuses
            self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
            self.send_header("location", f"{received.url}/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received = Received(f"http://127.0.0.1:{server.server_port}/alerts?token=abc")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield received
        finally:
            if received.blocks is not None:
                received.blocks.set()
            server.shutdown()
            thread.join()
