"""HTTP server with persistent connections for moto, whose own closes each one after a request.

A request of DynamoDB or S3 goes straight to moto's handler, all others to moto's WSGI application.
200 requests of a store take 0.9 s of processor time so, the client's half included, and 1.5 s with
moto's server, both on one busy machine: each request was a connection and a thread, was looked for
more of on a selector, and went through Flask.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable
from typing import Any

from botocore.exceptions import ClientError
from moto.core.request import Request
from moto.dynamodb.responses import DynamoHandler
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.s3.responses import S3Response
from werkzeug.serving import ThreadedWSGIServer
from werkzeug.wrappers import Response

StartResponse = Callable[..., Any]


class MotoHTTPServer(ThreadedWSGIServer):
    """moto on a free port, a thread for each connection."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1", 0, _Application(), handler=_Handler)
        self.url = "http://{}:{}".format(*self.server_address[:2])
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True)

    def start(self) -> None:
        """Serve on a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Accept no more connections."""
        self.shutdown()
        self._thread.join()


class _Application:
    """moto's handlers as a WSGI application."""

    def __init__(self) -> None:
        self._others = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        handler = _handler(environ)
        if handler is None:
            answer: Iterable[bytes] = self._others(environ, start_response)
            return answer
        request = _Request(environ)
        try:
            status, headers, body = handler(request, request.raw_url, dict(request.headers))
        except ClientError as error:
            status, headers, body = 400, {}, error.response["Error"]["Message"]
        response = Response(body, status, headers)
        if request.method == "HEAD" and "content-length" in headers:
            response.headers["Content-Length"] = headers["content-length"]
        return response(environ, start_response)


class _Request(Request):
    from_wsgi_server = True


def _handler(environ: dict[str, Any]) -> Callable[..., Any] | None:
    """What moto's routes say of a request; None for other services."""
    if environ.get("HTTP_X_AMZ_TARGET", "").startswith("DynamoDB_20120810."):
        return DynamoHandler.dispatch
    if "/s3/aws4_request" not in environ.get("HTTP_AUTHORIZATION", ""):
        return None
    path = environ["PATH_INFO"].lstrip("/")
    if not path:
        return S3Response.bucket_dispatch
    is_bucket = "/" not in path.rstrip("/")
    return S3Response.ambiguous_dispatch if is_bucket else S3Response.key_dispatch


class _Handler(MotoRequestHandler):
    """Requests of one connection, each read whole and answered in one write."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def handle_expect_100(self) -> bool:
        """Have the client send the body, for which it waits a second otherwise."""
        has_sent = super().handle_expect_100()
        self.wfile.flush()
        return has_sent

    def run_wsgi(self) -> None:
        """Answer a request."""
        environ = self.make_environ()
        is_chunked = environ.get("wsgi.input_terminated", False)
        size = -1 if is_chunked else int(self.headers.get("Content-Length", 0))
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(size))
        status, headers, written = "", list[tuple[str, str]](), list[bytes]()

        def start_response(
            new_status: str, new_headers: list[tuple[str, str]], _error: object = None, /
        ) -> Callable[[bytes], object]:
            nonlocal status, headers
            status, headers = new_status, new_headers
            return written.append

        written += self.server.app(environ, start_response)
        body = b"".join(written)
        code, _, reason = status.partition(" ")
        self.send_response_only(int(code), reason)
        names = {name.lower() for name, _ in headers}
        if "date" not in names:
            self.send_header("Date", self.date_time_string())
        if "content-length" not in names:
            self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()
