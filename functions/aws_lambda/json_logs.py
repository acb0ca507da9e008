"""Logging in JSON, one object a line, as CloudWatch Logs Insights reads it; never any text.

Every record of every module passes the root logger's handler, whose formatter is Powertools'. To
its fields come those of the invocation and, in the access line, those of the request.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

from functions.aws_lambda import invocation
from shared.runtime import request_context

if TYPE_CHECKING:
    from shared.runtime.request_context import RequestContext

_ACCESS = "pilotlight.access"
_NOISY = (
    *("uvicorn", "uvicorn.error", "mangum", "httpx2", "huggingface_hub"),
    *("botocore", "boto3", "urllib3"),
)

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

_TELLING = (OSError, MemoryError, RuntimeError)
_TELLING_PACKAGES = ("botocore.", "shared.storage.", "shared.models.", "shared.engine.")
"""Errors whose messages speak of machines. Any other may quote what it could not read or render,
which may be a prompt: of these only the type and the place are logged."""


def configure(level: str, service: str) -> None:
    """Log to standard output, where Lambda collects it, instead of as its runtime client does."""
    # Nothing here is logged with them, and every record would collect them.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    vars(logging)["logAsyncioTasks"] = False  # new in Python 3.12
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Formatter(service))
    handler.addFilter(_add_fields)
    root = logging.getLogger()
    root.handlers = [handler]  # the runtime client's would print every record a second time
    root.setLevel(level.upper())
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.captureWarnings(True)


class _Formatter(LambdaPowertoolsFormatter):
    """Powertools' formatter, without errors' messages that may quote a prompt."""

    def __init__(self, service: str) -> None:
        super().__init__(
            utc=True,
            use_rfc3339=True,
            serialize_stacktrace=False,
            log_record_order=["level", "message", "logger", "timestamp", "service"],
            service=service,
            function_name=os.environ.get("AWS_LAMBDA_FUNCTION_NAME"),
            function_version=os.environ.get("AWS_LAMBDA_FUNCTION_VERSION"),
            function_memory_size=_memory_size(),
        )

    def serialize(self, log: Any) -> str:
        """The line. Powertools knows the trace of the buffered handler only."""
        log.pop("exception_notes", None)  # they may quote as well
        current = invocation.current()
        if current is not None and current.trace:
            log["xray_trace_id"] = _root(current.trace)
        return super().serialize(log)

    def formatException(self, ei: _ExcInfo) -> str:
        """The traceback of the error and of those that led to it."""
        error = ei[1]
        parts: list[str] = []
        while error is not None:
            lines = traceback.format_tb(error.__traceback__)
            parts.append("".join([*lines, _described(error)]))
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\nfollowed by\n".join(reversed(parts))


def _described(error: BaseException) -> str:
    kind = type(error)
    name = (
        kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    )
    if isinstance(error, _TELLING) or kind.__module__.startswith(_TELLING_PACKAGES):
        return f"{name}: {error}"
    return name


def _add_fields(record: logging.LogRecord) -> bool:
    """Give ``record`` the fields of its invocation and request; False if it is not worth a line."""
    record.logger = record.name
    current = invocation.current()
    if current is None:
        # The adapter asks for the server's health, many times a second until it is ready.
        return record.name != _ACCESS
    record.function_request_id = current.request_id
    record.cold_start = current.is_cold_start
    request: RequestContext | None = record.__dict__.pop("request", None)
    if request is None:
        request = request_context.current()
        if request is not None:
            record.request_id = request.request_id
        return True
    record.__dict__.update(request_fields(request))
    return True


def request_fields(request: RequestContext) -> dict[str, Any]:
    """The fields of the access line. Times are in milliseconds; without meaning, absent."""
    fields: dict[str, Any] = {
        "request_id": request.request_id,
        "method": request.method,
        "path": request.path,
        "status": request.status,
        "duration_ms": _milliseconds(request.seconds),
    }
    if request.model is not None:
        fields["model"] = request.model
    if request.served_by is not None:
        fields["served_by"] = request.served_by
    if request.error is not None:
        fields["error_code"] = request.error.code or request.error.type
    if request.cost is not None:
        fields["cost_usd"] = request.cost / 10**9
    if generation := request.generation:
        fields["prompt_tokens"] = generation.prompt_tokens
        fields["cached_tokens"] = generation.cached_tokens
        fields["completion_tokens"] = generation.completion_tokens
        fields["queue_ms"] = _milliseconds(generation.queue_seconds)
        fields["time_to_first_token_ms"] = _milliseconds(generation.first_token_seconds)
        if (rate := generation.tokens_per_second) is not None:
            fields["tokens_per_second"] = round(rate, 2)
        fields["deadline_reached"] = request.is_deadline_reached
    if request.store_started is not None:
        fields["store_ms"] = _milliseconds(request.store_seconds)
        fields["stored"] = not request.store_failures
    return fields


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _memory_size() -> int | None:
    """The function's memory, in MB."""
    size = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
    return int(size) if size else None


def _root(trace: str) -> str:
    """The trace's id in X-Ray's header."""
    return next((part[5:] for part in trace.split(";") if part.startswith("Root=")), trace)
