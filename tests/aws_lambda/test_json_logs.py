"""Log records as JSON lines: what of an error may be told, and where."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from functions.aws_lambda import json_logs
from shared.storage.base import StoreError

SECRET = "what the caller wrote"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Logging as on Lambda; gives a function that returns what has been written."""
    output = io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    flags = logging.logThreads, logging.logProcesses, logging.logMultiprocessing
    json_logs.configure("info", "inference")
    yield lambda: [json.loads(line) for line in output.getvalue().split("\n") if line]
    logging.captureWarnings(False)
    root.handlers = handlers
    root.setLevel(level)
    logging.logThreads, logging.logProcesses, logging.logMultiprocessing = flags


def failing(error: Exception) -> None:
    try:
        raise error
    except Exception:
        logging.getLogger("pilotlight").exception("request %s failed", "req_1")


def test_an_exception_is_one_record(lines: Any) -> None:
    failing(OSError(28, "No space left on device"))

    [line] = lines()
    assert line["level"] == "ERROR"
    assert line["message"] == "request req_1 failed"
    assert line["logger"] == "pilotlight"
    assert line["exception_name"] == "OSError"
    assert line["exception"].endswith("OSError: [Errno 28] No space left on device")
    assert "in failing" in line["exception"]


def test_an_errors_message_that_may_quote_a_prompt_is_left_out(lines: Any) -> None:
    error = ValueError(SECRET)
    error.add_note(SECRET)

    failing(error)

    [line] = lines()
    assert line["exception_name"] == "ValueError"
    assert line["exception"].endswith("ValueError")
    assert SECRET not in json.dumps(line)


def test_the_errors_that_led_to_it_are_named_alike(lines: Any) -> None:
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise StoreError("the table is missing") from error
    except StoreError as error:
        failing(error)

    [line] = lines()
    assert "KeyError\nfollowed by\n" in line["exception"]
    assert line["exception"].endswith("StoreError: the table is missing")
    assert SECRET not in json.dumps(line)


def test_warnings_are_lines_as_well(lines: Any) -> None:
    logging.getLogger("py.warnings").warning("deprecated")

    [line] = lines()
    assert (line["level"], line["logger"]) == ("WARNING", "py.warnings")


def test_what_libraries_tell_of_each_request_is_left_out(lines: Any) -> None:
    logging.getLogger("mangum.http").info("GET / 200")
    logging.getLogger("botocore.credentials").info("Found credentials")

    assert lines() == []


def test_a_message_that_is_json_itself_stays_a_value(lines: Any) -> None:
    logging.getLogger("pilotlight").info("a\nb\u2028c %s", '"quoted"')

    [line] = lines()
    assert line["message"] == 'a\nb\u2028c "quoted"'
