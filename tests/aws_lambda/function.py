"""A function's process: the real runtime client with one of the handlers."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.aws_lambda.events import KEY
from tests.aws_lambda.runtime_api import RuntimeApi
from tests.forked_program import ForkedProgram, Program
from tests.server import START_SECONDS, STOP_SECONDS

_ROOT = Path(__file__).parents[2]
TASK_ROOT = Path(os.environ.get("LAMBDA_TASK_ROOT", _ROOT))
"""What is tested: this source tree, or the directory of a built package."""
PYTHON = os.environ.get("LAMBDA_PYTHON", sys.executable)
"""The interpreter that runs it."""
INFERENCE = "functions.aws_lambda.inference_handler.handler"
MARGIN = 15.0
"""Seconds before its deadline at which a request ends, where a busy machine shall not miss that."""
API = "functions.aws_lambda.api_handler.handler"
_CLIENT = "awslambdaric"
"""Lambda's runtime client."""
NEW_INTERPRETER = ("-m", _CLIENT)
"""A launcher: the runtime client, as Lambda starts it."""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """As Lambda has it for a deployed function, and nothing of whoever runs the tests."""
    return {
        "PATH": os.environ["PATH"],
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "HOME": os.environ.get("HOME", "/"),
        "LAMBDA_TASK_ROOT": str(TASK_ROOT),
        "LAMBDA_PYTHON": PYTHON,
        "PYTHONPATH": str(TASK_ROOT),
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        "AWS_LAMBDA_FUNCTION_NAME": "inference",
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "4096",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "PILOTLIGHT_MODEL": "builtin",
        "PILOTLIGHT_MODEL_CACHE": "memory",
        "PILOTLIGHT_STORE": "none",
        "PILOTLIGHT_PARALLEL": "4",
        "PILOTLIGHT_API_KEY_HASH": hashlib.sha256(KEY.encode()).hexdigest(),
        **(extra or {}),
    }


def needs_interpreter(environ: Mapping[str, str]) -> bool:
    """Whether only a new interpreter runs what such an environment says: no forked process does."""
    tested = (PYTHON, str(TASK_ROOT), environ["PYTHONPATH"])
    return tested != (sys.executable, str(_ROOT), str(_ROOT))


class Response:
    """What API Gateway would make of a function's response."""

    def __init__(self, payload: Mapping[str, Any]) -> None:
        self.payload = payload
        self.status: int = payload["statusCode"]
        self.headers: dict[str, str] = payload["headers"]
        self.text: str = payload["body"]

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.text)

    @property
    def error(self) -> Any:
        """The inside of the error envelope."""
        return self.json()["error"]


class Function:
    """A process that runs a handler, ended by `stop`."""

    def __init__(
        self,
        log: Path,
        handler: str = INFERENCE,
        environ: Mapping[str, str] | None = None,
        *,
        api: RuntimeApi,
        launcher: tuple[str, ...] = (),
    ) -> None:
        """``launcher`` is what a new interpreter is started with; without one, it is a forked process
        that runs the runtime client.
        """
        self.log = log
        self.api = api
        environ = environment({"AWS_LAMBDA_RUNTIME_API": api.address, **(environ or {})})
        with log.open("wb") as output:
            self.process: Program
            if launcher or needs_interpreter(environ):
                self.process = subprocess.Popen(
                    [PYTHON, *(launcher or NEW_INTERPRETER), handler],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=TASK_ROOT,
                    env=environ,
                )
            else:
                self.process = ForkedProgram(
                    _CLIENT,
                    [handler],
                    environ=environ,
                    directory=TASK_ROOT,
                    stdout=output,
                    stderr=output,
                )

    def log_text(self) -> str:
        """All that it wrote, as CloudWatch would have it."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def request(self, event: Mapping[str, Any], timeout: float = 29.0) -> Response:
        """The response to an event, which the function must not fail at."""
        invocation = self.api.invoke(event, timeout)
        assert invocation.error is None, (invocation.error, self.log_text())
        return Response(invocation.response)

    def wait(self) -> int:
        """The exit status, once it has ended."""
        return self.process.wait(START_SECONDS)

    def stop(self) -> None:
        """End the process by force, as Lambda does."""
        self.process.kill()
        self.process.wait(STOP_SECONDS)
