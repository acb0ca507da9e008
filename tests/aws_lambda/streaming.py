"""The streaming handler's process, started and called as the Lambda Web Adapter does."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2

from tests.aws_lambda.events import KEY, function_url_event
from tests.aws_lambda.function import TASK_ROOT, environment, needs_interpreter
from tests.aws_lambda.runtime_api import ARN
from tests.forked_program import ForkedProgram, Program
from tests.ports import free_port
from tests.server import START_SECONDS, STOP_SECONDS, wait_until


def context_headers(
    timeout: float = 60.0, event_of: Callable[[str, str], Any] = function_url_event
) -> dict[str, str]:
    """What the adapter adds to each request.

    ``timeout`` is what is left of the function's. ``event_of``: makes the event that the request
    is of.
    """
    event = event_of("POST", "/v1/chat/completions")
    context = {
        "request_id": "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
        "deadline": int((time.time() + timeout) * 1000),
        "invoked_function_arn": ARN,
        "xray_trace_id": "Root=1-67891233-abcdef012345678912345678",
        "env_config": {"function_name": "inference", "memory": 4096, "version": "1"},
    }
    return {
        "x-amzn-request-context": json.dumps(event["requestContext"]),
        "x-amzn-lambda-context": json.dumps(context),
    }


def start_script(
    log: Path, environ: Mapping[str, str], *, new_interpreter: bool = False
) -> Program:
    """The process of `run.sh`, or one that is forked and becomes what the script starts."""
    environ = environment(environ)
    with log.open("wb") as output:
        if new_interpreter or needs_interpreter(environ):
            return subprocess.Popen(
                [str(TASK_ROOT / "functions" / "aws_lambda" / "run.sh")],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environ,
            )
        return ForkedProgram(
            "functions.aws_lambda.streaming_server",
            [],
            environ=environ,
            directory=TASK_ROOT,
            stdout=output,
            stderr=output,
        )


class StreamingServer:
    """One process of `run.sh`. It listens soon, and is healthy once it has its model."""

    def __init__(
        self,
        log: Path,
        environ: Mapping[str, str] | None = None,
        *,
        new_interpreter: bool = False,
    ) -> None:
        self.log = log
        port = free_port()
        variables = {"AWS_LWA_PORT": str(port), **(environ or {})}
        self.process = start_script(log, variables, new_interpreter=new_interpreter)
        self.http = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=START_SECONDS)

    def log_text(self) -> str:
        """All that it wrote."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def await_health(self, status: int) -> None:
        """Ask for its health, as the adapter does, until that answers with ``status``."""
        wait_until(lambda: self._health() == status, f"status {status}", START_SECONDS)

    def _health(self) -> int:
        assert self.process.poll() is None, self.log_text()
        try:
            return self.http.get("/health").status_code
        except httpx2.ConnectError:
            return 0

    def call(self, path: str, method: str = "POST", **headers: str) -> httpx2.Response:
        """A request as the adapter makes it by itself."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.request(method, path, headers=named)

    def pass_on(self, body: Any, timeout: float = 60.0) -> dict[str, Any]:
        """The arguments of a chat completion that the adapter passes on for a caller."""
        headers = {"authorization": f"Bearer {KEY}", **context_headers(timeout)}
        return {
            "method": "POST",
            "url": "/v1/chat/completions",
            "json": body,
            "headers": headers,
        }

    def terminate(self) -> None:
        """Send SIGTERM, as Lambda does some 300 ms before it ends an environment."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """The exit status, once it has ended."""
        return self.process.wait(START_SECONDS)

    def stop(self) -> None:
        """End the process by force."""
        self.http.close()
        self.process.kill()
        self.process.wait(STOP_SECONDS)
