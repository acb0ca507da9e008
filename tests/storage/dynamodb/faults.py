"""A proxy between the store and AWS that fails as networks and services do."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

FaultKind = Literal["500", "throttling", "conflict", "timeout", "reset", "cut", "kill", "refused"]

_HELD_SECONDS = 10.0
"""How long a response is held back at most, if the client does not give up before."""

_DYNAMODB_ERRORS: dict[FaultKind, tuple[int, str]] = {
    "500": (500, "InternalServerError"),
    "throttling": (400, "ThrottlingException"),
    "conflict": (400, "TransactionCanceledException"),
}
_S3_ERRORS: dict[FaultKind, tuple[int, str]] = {
    "500": (500, "InternalError"),
    "throttling": (503, "SlowDown"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with a call.

    ``is_late``: AWS does what it was asked to, and only the answer is lost. ``cut`` sends half of
    the answer. ``conflict`` is for transactions: another one had an item. ``kill`` ends the calling
    process ``pid`` by SIGKILL. ``refused`` answers with ``refusal``: status, code and message.
    """

    kind: FaultKind
    is_late: bool = False
    pid: int = 0
    refusal: tuple[int, str, str] = (400, "", "")

    def __str__(self) -> str:
        return f"{self.kind}-{'late' if self.is_late else 'early'}"


Plan = Callable[[int, str], Fault | None]
"""What goes wrong, by a call's number (from 0) and name (such as ``TransactWriteItems``, ``PUT``)."""


class FaultyProxy:
    """Forwards to ``upstream``; ``plan`` says what goes wrong. Notes the ``calls`` since `reset`."""

    def __init__(self, upstream: str) -> None:
        self.calls: list[str] = []
        self.plan: Plan = lambda number, name: None
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"proxy": self, "upstream": urlsplit(upstream)})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = "http://{}:{}".format(*self._server.server_address[:2])

    def reset(self, plan: Plan | None = None) -> None:
        """Count calls from 0 again, with a new plan."""
        with self._lock:
            self.calls.clear()
            self.plan = plan or (lambda number, name: None)

    def next_fault(self, name: str) -> Fault | None:
        """What goes wrong with a call that has just come in."""
        with self._lock:
            self.calls.append(name)
            return self.plan(len(self.calls) - 1, name)

    @contextmanager
    def serving(self) -> Iterator[FaultyProxy]:
        """While it runs."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield self
        self._server.shutdown()
        self._server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    proxy: FaultyProxy
    upstream: Any

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        target = self.headers.get("X-Amz-Target", "")
        fault = self.proxy.next_fault(target.rpartition(".")[2] or self.command)
        if fault is not None and not (fault.is_late or fault.kind == "cut"):
            self._fail(fault, is_dynamodb=bool(target))
            return
        status, headers, answer = self._forward(body)
        if fault is None:
            self._answer(status, headers, answer)
        elif fault.kind == "cut":
            self._answer(status, headers, answer, sent=len(answer) // 2)
            self._reset()
        else:
            self._fail(fault, is_dynamodb=bool(target))

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle

    def setup(self) -> None:
        """Have a connection forward what comes on this one."""
        super().setup()
        self._connection = http.client.HTTPConnection(self.upstream.netloc, timeout=300)

    def finish(self) -> None:
        """Close both."""
        self._connection.close()
        super().finish()

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        self._connection.request(self.command, self.path, body, dict(self.headers.items()))
        response = self._connection.getresponse()
        return response.status, response.getheaders(), response.read()

    def _answer(
        self, status: int, headers: list[tuple[str, str]], body: bytes, sent: int | None = None
    ) -> None:
        self.send_response_only(status)
        own = {"connection", "transfer-encoding"}
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
            own.add("content-length")
        for name, value in headers:
            if name.lower() not in own:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:sent])

    def _fail(self, fault: Fault, *, is_dynamodb: bool) -> None:
        if fault.kind == "kill":
            os.kill(fault.pid, signal.SIGKILL)
            self._reset()
        elif fault.kind == "reset":
            self._reset()
        elif fault.kind == "timeout":
            # Until the client gives up, which it does by closing the connection.
            self.connection.settimeout(_HELD_SECONDS)
            with suppress(OSError):
                self.connection.recv(1)
            self.close_connection = True
        elif is_dynamodb:
            status, code, message = _refusal(fault, _DYNAMODB_ERRORS)
            error: dict[str, Any] = {"__type": f"com.amazonaws#{code}", "message": message}
            if fault.kind == "conflict":
                error["CancellationReasons"] = [{"Code": "TransactionConflict"}, {"Code": "None"}]
            self._answer(status, [], json.dumps(error).encode())
        else:
            status, code, message = _refusal(fault, _S3_ERRORS)
            text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
            self._answer(status, [], text.encode())

    def _reset(self) -> None:
        """Close with a reset instead of an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
        self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: the tests count the calls."""


def _refusal(fault: Fault, errors: Mapping[FaultKind, tuple[int, str]]) -> tuple[int, str, str]:
    """Status, code and message."""
    return fault.refusal if fault.kind == "refused" else (*errors[fault.kind], "injected")
