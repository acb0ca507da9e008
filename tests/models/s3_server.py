"""As much of S3 as downloads need, over real HTTP, failing where a test wants it to."""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

Fault = Literal["reset", "cut", "short", "slow-down", "too-many", "corrupt", "denied", "error"]
"""``cut`` resets in the midst of the body, ``short`` ends there as if that were all."""
Plan = Callable[[int, int], Fault | None]
"""What goes wrong, by a GET's number (from 0) and its range's first byte."""

Refusal = tuple[int, str, str, Mapping[str, str]]
"""Status, code, message and headers of an answer."""
Guard = Callable[["BaseHTTPRequestHandler"], Refusal | None]
"""Refuses requests of any kind."""

BUCKET = "models"

_ERRORS: dict[Fault, tuple[int, str, str]] = {
    "slow-down": (503, "SlowDown", "Please reduce your request rate."),
    "too-many": (429, "TooManyRequests", "Too many."),
    "denied": (403, "AccessDenied", "Access Denied"),
    "error": (400, "InvalidRequest", "injected"),
}


def environment(url: str) -> dict[str, str]:
    """With it boto3 uses the server."""
    return {
        "AWS_ENDPOINT_URL_S3": url,
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }


@dataclass(slots=True)
class StoredObject:
    """``part_sizes``: of the parts that it was uploaded in. ``headers``: checksums and the like."""

    content: bytes
    part_sizes: list[int] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)
    etag: str = ""

    def __post_init__(self) -> None:
        if not self.etag:
            digests = [hashlib.md5(part).digest() for part in self.parts()]
            md5 = hashlib.md5(b"".join(digests)).hexdigest()
            whole = hashlib.md5(self.content).hexdigest()
            self.etag = f'"{md5}-{len(digests)}"' if digests else f'"{whole}"'

    def parts(self) -> list[bytes]:
        """What was uploaded, part by part."""
        found, start = [], 0
        for size in self.part_sizes:
            found.append(self.content[start : start + size])
            start += size
        return found


class S3Server:
    """The objects of one bucket by key, and the GETs that came: their ranges' first bytes."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """With ``tls`` it is found as localhost."""
        self.objects: dict[str, StoredObject] = {}
        self.denied: set[str] = set()
        self.plan: Plan = lambda number, start: None
        self.guard: Guard = lambda request: None
        self.on_get: Callable[[int], None] = lambda number: None
        self.gets: list[int] = []
        self.sent = 0
        """Bytes of bodies."""
        self.connections = 0
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"s3": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
            self.url = f"https://localhost:{self.port}"

    def put(self, key: str, content: bytes, **options: Any) -> None:
        """Store an object; see `StoredObject`."""
        self.objects[key] = StoredObject(content, **options)

    @contextmanager
    def serving(self) -> Iterator[S3Server]:
        """While it runs."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield self
        self._server.shutdown()
        self._server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # a connection beyond it is made a second later

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: clients may hang up, or be killed."""


class _Handler(BaseHTTPRequestHandler):
    s3: S3Server

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_HEAD(self) -> None:
        found = self._find()
        if found is None:
            return
        part = parse_qs(urlsplit(self.path).query).get("partNumber")
        headers = {"ETag": found.etag, "Last-Modified": "Sun, 22 Nov 2026 12:00:00 GMT"}
        size = len(found.content)
        if part is not None:
            size = found.part_sizes[int(part[0]) - 1] if found.part_sizes else size
            headers["x-amz-mp-parts-count"] = str(len(found.part_sizes))
        self._answer(206 if part else 200, {**headers, **found.headers}, size)

    def do_GET(self) -> None:
        found = self._find()
        if found is None:
            return
        first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
        start, end = int(first), int(last) + 1
        with self.s3.lock:
            number = len(self.s3.gets)
            self.s3.gets.append(start)
            fault = self.s3.plan(number, start)
        self.s3.on_get(number)
        if fault == "reset":
            self._reset()
        elif fault in _ERRORS:
            self._fail(*_ERRORS[fault])
        elif self.headers.get("If-Match", found.etag) != found.etag:
            self._fail(412, "PreconditionFailed", "At least one of the pre-conditions failed")
        else:
            self._send(found, start, end, fault)

    def _send(self, found: StoredObject, start: int, end: int, fault: Fault | None) -> None:
        body = found.content[start:end]
        headers = {
            "ETag": found.etag,
            "Content-Range": f"bytes {start}-{end - 1}/{len(found.content)}",
        }
        self._answer(206, headers, len(body))
        if fault == "corrupt":
            body = body[:-1] + bytes([body[-1] ^ 1])
        sent = body[: len(body) // 2] if fault in ("cut", "short") else body
        self.wfile.write(sent)
        with self.s3.lock:
            self.s3.sent += len(sent)
        if fault == "short":
            self.close_connection = True
        elif fault == "cut":
            self._reset()

    def setup(self) -> None:
        super().setup()
        with self.s3.lock:
            self.s3.connections += 1

    def _find(self) -> StoredObject | None:
        if (refusal := self.s3.guard(self)) is not None:
            self._fail(*refusal)
            return None
        bucket, _, key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        if not key and bucket == BUCKET:  # HeadBucket
            self._answer(200, {}, 0)
        elif bucket in self.s3.denied:
            self._fail(403, "AccessDenied", "Access Denied")
        elif bucket != BUCKET:
            self._fail(404, "NoSuchBucket", "The specified bucket does not exist")
        elif key not in self.s3.objects:
            self._fail(404, "NoSuchKey", "The specified key does not exist.")
        else:
            return self.s3.objects[key]
        return None

    def _fail(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        self._answer(status, headers or {}, len(text))
        if self.command != "HEAD":
            self.wfile.write(text)

    def _answer(self, status: int, headers: Mapping[str, str], length: int) -> None:
        self.send_response_only(status)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()

    def _reset(self) -> None:
        """Close with a reset instead of an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: the tests look at the GETs."""


def crc32(content: bytes) -> str:
    """As in ``x-amz-checksum-crc32``."""
    return base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()
