"""What came of a failure: what the caller got, what the log says, what was counted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.aws_lambda.events import KEY, http_api_event
from tests.aws_lambda.function import Function, Response
from tests.aws_lambda.streaming import StreamingServer
from tests.server import START_SECONDS

CHAT = "/v1/chat/completions"
SECRET = "Xylophagous"
"""In every prompt: it must be in no log."""
ACCESS_KEY = "AKIADRILLDRILLDRILL0"
PROMPT = [{"role": "user", "content": f"What is the capital of France? {SECRET}"}]
COMPLETION: dict[str, Any] = {"messages": PROMPT, "temperature": 0, "max_tokens": 8}

_TELLING_HEADERS = ("retry-after", "x-stored", "x-deadline")
_COUNTS_OF_FAILURES = ("Errors", "Throttled", "StoreFailures", "DeadlineReached")


_BUSY_MACHINE = 20.0
"""Seconds that a machine with better things to do may add: functions leave themselves one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one request, or a start that failed, came to.

    ``answer``: status and code, or the exit status. ``told``: headers that tell something, or
    comments of a stream. ``log``: records that are no mere information, as ``LEVEL message``.
    ``counted``: metrics of failures that are not 0.
    """

    answer: str
    message: str | None
    told: frozenset[str]
    log: frozenset[str]
    counted: frozenset[str]


class Caller:
    """Sends requests to one function, through whichever handler it has, and notes what they cause."""

    def __init__(self, function: Function | StreamingServer) -> None:
        self.function = function
        self._n_read = 0

    def chat(self, timeout: float = 29.0, **fields: Any) -> Outcome:
        """A chat completion; ``timeout`` is the function's, in seconds."""
        body = COMPLETION | fields
        if isinstance(self.function, StreamingServer):
            response = self.function.http.request(**self.function.pass_on(body, timeout))
            return self._outcome(response.status_code, response.headers, response.text)
        return self.invoke("POST", CHAT, body, timeout)

    def invoke(self, method: str, path: str, body: Any = None, timeout: float = 29.0) -> Outcome:
        """Any request, as an event."""
        assert isinstance(self.function, Function)
        # Lambda's time does not run before, either.
        assert self.function.api.is_initialized.wait(START_SECONDS), self.function.log_text()
        invocation = self.function.api.invoke(http_api_event(method, path, body), timeout)
        assert invocation.error is None, (invocation.error, self.function.log_text())
        assert invocation.answered_at < invocation.deadline + _BUSY_MACHINE
        response = Response(invocation.response)
        return self._outcome(response.status, response.headers, response.text)

    def end(self) -> Outcome:
        """Wait for a process that ends by itself."""
        status = self.function.wait()
        if isinstance(self.function, Function):
            # The runtime client would report it, with a traceback.
            assert self.function.api.init_errors == []
        return Outcome(f"exit status {status}", None, frozenset(), *self._logged())

    def _outcome(self, status: int, headers: Mapping[str, str], text: str) -> Outcome:
        told = {f"{name}: {headers[name]}" for name in _TELLING_HEADERS if name in headers}
        if headers["content-type"].startswith("text/event-stream"):
            lines = text.splitlines()
            told |= {line[2:] for line in lines if line.startswith(": ")}
            text = next((line[6:] for line in lines if line.startswith('data: {"error"')), "{}")
        error = json.loads(text).get("error")
        answer = str(status) if error is None else f"{status} {error['code']}"
        return Outcome(answer, error and error["message"], frozenset(told), *self._logged())

    def _logged(self) -> tuple[frozenset[str], frozenset[str]]:
        """Records and metrics of what was written since the last time."""
        text = self.function.log_text()[self._n_read :]
        self._n_read += len(text)
        for secret in (SECRET, "France", KEY, ACCESS_KEY):
            assert secret not in text
        # Whatever goes wrong, each line is one that Logs Insights can read.
        lines: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
        return frozenset(_records(lines)), frozenset(_metrics(lines))


def _records(lines: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for line in lines:
        if line.get("level", "INFO") not in ("DEBUG", "INFO"):
            yield f"{line['level']} {line['message']}"


def _metrics(lines: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for line in lines:
        yield from (name for name in _COUNTS_OF_FAILURES if any(line.get(name, ())))
