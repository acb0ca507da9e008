"""A stand-in for the Lambda Web Adapter: runs a web server in a function, one request at a time.

It reads the adapter's variables (``AWS_LWA_...``), starts the handler that is a program, waits until
that is healthy, calls it around a snapshot, and passes requests on. Unlike the adapter, it returns
an answer once all of it is there: the emulator can't stream.
https://aws.github.io/aws-lambda-web-adapter/
"""

from __future__ import annotations

import base64
import ctypes
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any
from urllib.parse import urlencode

from snapshot_restore_py import (  # type: ignore[import-untyped]
    register_after_restore,
    register_before_snapshot,
)

_SEPARATOR = "\0" * 8
"""Between status and headers of a streamed answer, and its body."""
_PR_SET_PDEATHSIG = 1


class _Server:
    """The program that listens, and requests to it."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        root = os.environ["LAMBDA_TASK_ROOT"]
        self._process = subprocess.Popen(
            ["/bin/sh", f"{root}/{os.environ['STAND_IN_HANDLER']}"],
            env={
                **os.environ,
                "AWS_LWA_PORT": str(self._port),
                "LAMBDA_PYTHON": sys.executable,
                "PYTHONPATH": root,
            },
            stdout=sys.__stderr__,  # the other one is the emulator's line to this process
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - no threads yet
        )
        self._is_ready = False

    def await_health(self) -> None:
        """Return when it is healthy; raises `RuntimeError` if it has ended."""
        path = os.environ["AWS_LWA_READINESS_CHECK_PATH"]
        while not self._is_ready:
            if (status := self._process.poll()) is not None:
                raise RuntimeError(f"the server ended with exit status {status}")
            try:
                self._is_ready = self.request("GET", path)[0] == 200
            except OSError:
                time.sleep(0.05)

    def call(self, variable: str) -> None:
        """Call a path that a variable names, if one does; raises `RuntimeError` if it fails."""
        if path := os.environ.get(variable):
            status, _, body = self.request("POST", path)
            if not 200 <= status < 300:
                raise RuntimeError(f"POST {path}: {status} {body!r}")

    def request(
        self,
        method: str,
        target: str,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        try:
            connection.request(method, target, body, headers or {})
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()
        finally:
            connection.close()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


_server = _Server()


def _before_snapshot() -> None:
    _server.await_health()
    _server.call("AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH")


def _after_restore() -> None:
    _server.call("AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH")


register_before_snapshot(_before_snapshot)
register_after_restore(_after_restore)
if os.environ.get("AWS_LWA_ASYNC_INIT") != "true":
    _server.await_health()


def handler(event: dict[str, Any], context: Any) -> Any:
    """The answer to an event of a function URL, or of API Gateway."""
    _server.await_health()
    body = event.get("body")
    if body is not None:
        body = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
    headers = dict(event["headers"])
    headers["x-amzn-request-context"] = json.dumps(event["requestContext"])
    headers["x-amzn-lambda-context"] = json.dumps(_context(context))
    if event.get("version") == "2.0":
        query = event.get("rawQueryString", "")
        method, path = event["requestContext"]["http"]["method"], event["rawPath"]
    else:
        query = urlencode(event.get("multiValueQueryStringParameters") or {}, doseq=True)
        method, path = event["httpMethod"], event["path"]
    status, received, content = _server.request(
        method, f"{path}?{query}" if query else path, headers, body
    )
    answer = {"statusCode": status, "headers": dict(received)}
    if event.get("version") == "2.0":
        return json.dumps(answer) + _SEPARATOR + content.decode()
    return {**answer, "body": content.decode()}


def _context(context: Any) -> dict[str, Any]:
    return {
        "request_id": context.aws_request_id,
        "deadline": int(time.time() * 1000) + context.get_remaining_time_in_millis(),
        "invoked_function_arn": context.invoked_function_arn,
        "xray_trace_id": os.environ.get("_X_AMZN_TRACE_ID", ""),
        "env_config": {
            "function_name": context.function_name,
            "memory": int(context.memory_limit_in_mb),
            "version": context.function_version,
        },
    }
