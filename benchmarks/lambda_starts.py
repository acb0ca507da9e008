"""Starts of Lambda's functions, each in a new process, measured from outside."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import lambda_phases
from benchmarks.process import HOST, free_port
from tests.aws_lambda.events import KEY, http_api_event
from tests.aws_lambda.function import (
    API,
    INFERENCE,
    NEW_INTERPRETER,
    TASK_ROOT,
    Function,
    environment,
)
from tests.aws_lambda.runtime_api import Invocation, RuntimeApi
from tests.forked_program import Program

_PROBE = Path(__file__).with_name("lambda_probe.py")
_BODY = {
    "messages": [{"role": "user", "content": "Why is the sky blue? Answer in one sentence."}],
    "max_tokens": 1,
}
_CHAT = http_api_event("POST", "/v1/chat/completions", _BODY)
_TIMEOUT = 120.0
_POLL = 0.003
"""Seconds between attempts: the error of the measurement, and little work for the cores."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds on the clock, and of the processor (all threads together)."""

    init: float
    """Until the function asks for its first event, or is ready."""
    init_cpu: float
    first: float
    """From then to the first response's end, which has one token."""
    first_cpu: float
    second: float
    """The same again, its prompt being in the KV cache."""


class _Api(RuntimeApi):
    """Notes when the function first asked for an event, on `time.monotonic`'s clock."""

    asked_at = 0.0

    def next_event(self) -> Invocation | None:
        """As `RuntimeApi.next_event`."""
        self.asked_at = self.asked_at or time.monotonic()
        return super().next_event()


class Starts:
    """Starts functions with one environment; ``directory`` is for their logs."""

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        self._directory = directory
        self._environ = environ

    def inference(self) -> Start:
        """On demand: an event is there from the beginning."""
        return self._on_demand(INFERENCE, _CHAT)

    def api(self) -> Start:
        """The function without a model."""
        return self._on_demand(API, http_api_event("GET", "/v1/models"))

    def restored(self) -> Start:
        """What is left of a start when everything up to the hooks was in a snapshot."""
        api = _Api()
        snap_start = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
        with api.serving():
            function = self._function(INFERENCE, api, snap_start)
            try:
                _await(api.is_snapshot_ready, function)
                cpu, started = _cpu(function.process), time.monotonic()
                api.may_restore.set()
                return _requested(function, api, _CHAT, started, cpu)
            finally:
                function.stop()

    def streaming(self) -> Start:
        """The start script; whoever asks stands for the Lambda Web Adapter."""
        port = free_port()
        environ = environment({**self._environ, "AWS_LWA_PORT": str(port)})
        started = time.monotonic()
        with (self._directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [TASK_ROOT / "functions" / "aws_lambda" / "run.sh"],
                env=environ,
                cwd=TASK_ROOT,
                stdout=log,
                stderr=log,
            )
        try:
            _await_ready(port, process)
            init, init_cpu = time.monotonic() - started, _cpu(process)
            first = _stream(port)
            first_cpu = _cpu(process) - init_cpu
            return Start(init, init_cpu, first, first_cpu, _stream(port))
        finally:
            process.kill()
            process.wait(_TIMEOUT)

    def phases(self) -> list[lambda_phases.Phase]:
        """What a start of `inference` consists of."""
        path = self._directory / "phases"
        path.unlink(missing_ok=True)
        api = _Api()
        with api.serving():
            started = time.monotonic()
            noted = {"COLDSTART_PHASES": str(path)}
            function = self._function(INFERENCE, api, noted, launcher=(str(_PROBE),))
            try:
                _await(api.is_initialized, function)
                _request(function, _CHAT)
                return lambda_phases.read(path, started)
            finally:
                function.stop()

    def _on_demand(self, handler: str, event: Mapping[str, Any]) -> Start:
        api = _Api()
        with api.serving():
            started = time.monotonic()
            function = self._function(handler, api)
            try:
                return _requested(function, api, event, started, 0.0)
            finally:
                function.stop()

    def _function(
        self,
        handler: str,
        api: RuntimeApi,
        environ: Mapping[str, str] = {},
        launcher: tuple[str, ...] = NEW_INTERPRETER,
    ) -> Function:
        log = self._directory / "log"
        return Function(log, handler, {**self._environ, **environ}, api=api, launcher=launcher)


def _requested(
    function: Function, api: _Api, event: Mapping[str, Any], started: float, cpu: float
) -> Start:
    """The rest of a start, from ``started`` on, when ``cpu`` seconds had been computed."""
    _await(api.is_initialized, function)
    init_cpu = _cpu(function.process) - cpu
    _request(function, event)
    ended = time.monotonic()
    first_cpu = _cpu(function.process) - cpu - init_cpu
    again = time.monotonic()
    _request(function, event)
    return Start(
        init=api.asked_at - started,
        init_cpu=init_cpu,
        first=ended - api.asked_at,
        first_cpu=first_cpu,
        second=time.monotonic() - again,
    )


def _await(event: threading.Event, function: Function) -> None:
    """Wait for what the function's process does; raises `RuntimeError` if it ends before."""
    deadline = time.monotonic() + _TIMEOUT
    while not event.wait(0.1):
        if function.process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the function did not get ready: {function.log_text()}")


def _request(function: Function, event: Mapping[str, Any]) -> None:
    response = function.request(event, _TIMEOUT)
    assert response.status == http.HTTPStatus.OK, (response.text, function.log_text())


def _await_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection(HOST, port, timeout=_TIMEOUT)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except ConnectionError:
            pass
        finally:
            connection.close()
        time.sleep(_POLL)
    raise RuntimeError("the streaming server did not get ready")


def _stream(port: int) -> float:
    """Seconds that a stream of one token took."""
    started = time.monotonic()
    connection = http.client.HTTPConnection(HOST, port, timeout=_TIMEOUT)
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    body = json.dumps({**_BODY, "stream": True})
    connection.request("POST", "/v1/chat/completions", body, headers)
    events = connection.getresponse().read()
    assert events.endswith(b"data: [DONE]\n\n"), events
    connection.close()
    return time.monotonic() - started


def _cpu(process: Program) -> float:
    """Seconds that all threads of a process have computed."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
