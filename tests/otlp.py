"""Receivers of spans: a collector (OTLP/HTTP), and the daemon of X-Ray (OTLP in datagrams)."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

SERVER = 2
"""OTLP's number of a server span's kind."""
ERROR = 2
"""OTLP's number of an error's status."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """A span as it was received; ids in hexadecimal digits, times in seconds since 1970."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    status: int
    start: float
    end: float
    attributes: dict[str, Any]
    resource: dict[str, Any]


@dataclass
class Receiver:
    """The spans that came since they were last taken, and the headers that they came with."""

    url: str = ""
    status: int = 200
    headers: list[dict[str, str]] = field(default_factory=list)
    _spans: list[Span] = field(default_factory=list)
    _arrived: threading.Condition = field(default_factory=threading.Condition)

    @property
    def endpoint(self) -> str:
        """Where traces are sent to."""
        return f"{self.url}/v1/traces"

    def take(self) -> list[Span]:
        """The spans that are there by now."""
        with self._arrived:
            taken, self._spans = self._spans, []
            return taken

    def wait_for(self, name: str, seconds: float = 60) -> list[Span]:
        """The same, once a span ``name`` is among them."""
        with self._arrived:
            there = self._arrived.wait_for(
                lambda: any(span.name == name for span in self._spans), seconds
            )
            assert there, [span.name for span in self._spans]
        return self.take()

    def receive(self, path: str, headers: dict[str, str], body: bytes) -> int:
        """Take an export; the status to answer with."""
        if path != "/v1/traces" or headers.get("content-type") != "application/x-protobuf":
            return 404
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        with self._arrived:
            self.headers.append(headers)
            if self.status == 200:
                self._spans += _spans(ExportTraceServiceRequest.FromString(body))
                self._arrived.notify_all()
        return self.status


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver on a free port."""
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(found.receive(self.path, headers, body))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Daemon:
    """What Lambda runs beside a function to take its traces: UDP, a header line, OTLP in base64."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.address = "{}:{}".format(*self._socket.getsockname())

    def take(self) -> list[Span]:
        """The spans that have come by now."""
        found: list[Span] = []
        while True:
            try:
                header, _, document = self._socket.recvfrom(65536)[0].partition(b"\n")
            except BlockingIOError:
                return found
            assert json.loads(header) == {"format": "json", "version": 1}
            assert document.startswith(b"T1S"), "spans of a sampled trace"
            export = base64.b64decode(document[3:], validate=True)
            found += _spans(ExportTraceServiceRequest.FromString(export))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def _spans(export: ExportTraceServiceRequest) -> Iterator[Span]:
    for part in export.resource_spans:
        resource = _attributes(part.resource.attributes)
        for scope in part.scope_spans:
            for span in scope.spans:
                yield Span(
                    name=span.name,
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    kind=span.kind,
                    status=span.status.code,
                    start=span.start_time_unix_nano / 1e9,
                    end=span.end_time_unix_nano / 1e9,
                    attributes=_attributes(span.attributes),
                    resource=resource,
                )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    if value.WhichOneof("value") == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, str(value.WhichOneof("value")))
