"""Lambda's Runtime API over real HTTP: what the runtime client gets its events from.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_PREFIX = "/2018-06-01/runtime/"
ARN = "arn:aws:lambda:us-east-1:123456789012:function:inference"
RESPONSE_LIMIT = 6_291_556
"""Bytes of a response; Lambda refuses longer ones with 413."""
ANSWER_SECONDS = 300.0
"""Far more than anything takes: only a hang should reach it."""


@dataclass(slots=True)
class Invocation:
    """An event on its way, and what came of it. ``deadline``: seconds since 1970."""

    event: Mapping[str, Any]
    deadline: float
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    response: Any = None
    error: Any = None
    answered_at: float = 0.0
    """Seconds since 1970."""
    done: threading.Event = field(default_factory=threading.Event)


class RuntimeApi:
    """One execution environment's endpoint, as the platform's side of it sees it."""

    def __init__(self) -> None:
        self._events: queue.Queue[Invocation | None] = queue.Queue()
        self._running: dict[str, Invocation] = {}
        self.init_errors: list[Any] = []
        self.restore_errors: list[Any] = []
        self.is_initialized = threading.Event()
        """Set when the function asks for its first event, or for its restore."""
        self.is_snapshot_ready = threading.Event()
        """Set when the hooks before the snapshot have ended."""
        self.may_restore = threading.Event()
        """Until it is set, the snapshot has not been restored."""
        handler = type("Handler", (_Handler,), {"api": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.address = "{}:{}".format(*self._server.server_address[:2])

    def invoke(self, event: Mapping[str, Any], timeout: float = 29.0) -> Invocation:
        """Send an event to the function and wait for its end; ``timeout`` is the function's."""
        invocation = Invocation(event, time.time() + timeout)
        self._running[invocation.request_id] = invocation
        self._events.put(invocation)
        assert invocation.done.wait(ANSWER_SECONDS), "no answer"
        return invocation

    @contextmanager
    def serving(self) -> Iterator[RuntimeApi]:
        """While it runs."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._events.put(None)
            self.may_restore.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def next_event(self) -> Invocation | None:
        """The next event, None when there will be none any more."""
        self.is_initialized.set()
        return self._events.get()

    def finish(self, request_id: str, response: Any, error: Any) -> None:
        """Take what became of an event."""
        invocation = self._running.pop(request_id)
        invocation.answered_at = time.time()
        invocation.response, invocation.error = response, error
        invocation.done.set()

    def wait_for_restore(self) -> None:
        """Return when the function continues as a copy."""
        self.is_snapshot_ready.set()
        self.may_restore.wait()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what is wrong, unless it is that a function has ended."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    api: RuntimeApi

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path == f"{_PREFIX}restore/next":
            self.api.wait_for_restore()
            self._answer(200, b"")
            return
        assert self.path == f"{_PREFIX}invocation/next", self.path
        invocation = self.api.next_event()
        if invocation is None:
            self._answer(500, b"")
            return
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(invocation.deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": ARN,
            "Lambda-Runtime-Trace-Id": f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]}",
        }
        self._answer(200, json.dumps(invocation.event).encode(), headers)

    def do_POST(self) -> None:
        body = self._body()
        kind = self.path.removeprefix(_PREFIX)
        match kind.split("/"):
            case ["init", "error"]:
                self.api.init_errors.append(json.loads(body))
            case ["restore", "error"]:
                self.api.restore_errors.append(json.loads(body))
            case ["invocation", request_id, "response"]:
                if len(body) > RESPONSE_LIMIT:
                    error = {"errorType": "Function.ResponseSizeTooLarge"}
                    self.api.finish(request_id, None, error)
                    self._answer(413, b"{}")
                    return
                self.api.finish(request_id, json.loads(body), None)
            case ["invocation", request_id, "error"]:
                self.api.finish(request_id, None, json.loads(body))
            case _:
                raise AssertionError(self.path)
        self._answer(202, b'{"status": "OK"}')

    def _body(self) -> bytes:
        if self.headers["Transfer-Encoding"] != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"]))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] = {}) -> None:
        self.send_response_only(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: tests look at what came."""
