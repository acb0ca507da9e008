"""Tracing on Lambda: X-Ray's trace context as W3C's, its daemon, and when the SDK is imported."""

from __future__ import annotations

import logging
import subprocess

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult

from functions.aws_lambda.tracing import LambdaTracing, XRayTracing, lambda_tracing, traceparent
from functions.aws_lambda.xray_exporter import XRayExporter
from shared.config.settings import Settings
from shared.runtime.state import ServerState
from tests.aws_lambda.function import PYTHON, TASK_ROOT, environment
from tests.otlp import Daemon

DAEMON = "AWS_XRAY_DAEMON_ADDRESS"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize(
    "header",
    [
        "Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=1",
        "Sampled=1;Parent=53995c3f42cd8ad8;Lineage=1:a:0;Root=1-67891233-abcdef012345678912345678",
    ],
)
def test_xrays_header_names_the_same_trace_as_w3cs(header: str) -> None:
    expected = "00-67891233abcdef012345678912345678-53995c3f42cd8ad8-01"

    assert traceparent(header) == expected


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({DAEMON: "127.0.0.1:2000"}, XRayTracing),
        ({DAEMON: "127.0.0.1:2000", "OTEL_TRACES_EXPORTER": "otlp"}, XRayTracing),
        ({DAEMON: "127.0.0.1:2000", "OTEL_TRACES_EXPORTER": "none"}, None),
        ({DAEMON: "127.0.0.1:2000", "OTEL_SDK_DISABLED": "true"}, None),
        ({DAEMON: "127.0.0.1:2000", ENDPOINT: "http://collector:4318"}, LambdaTracing),
        ({ENDPOINT: "http://collector:4318"}, LambdaTracing),
        ({ENDPOINT: "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, None),
    ],
)
def test_an_endpoint_comes_before_the_daemon(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], expected: type | None
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    found = lambda_tracing(ServerState(Settings(store="none"), None), "api")

    assert expected is type(found) if expected else found is None


def test_each_span_has_a_datagram(monkeypatch: pytest.MonkeyPatch, stand_ins: None) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(XRayExporter()))
    tracer = provider.get_tracer("test")
    with Daemon() as first, Daemon() as second:
        monkeypatch.setenv(DAEMON, first.address)
        tracer.start_span("one", attributes={"text": "x" * 40_000}).end()
        monkeypatch.setenv(DAEMON, second.address)  # as in a restored copy
        tracer.start_span("two").end()
        tracer.start_span("three").end()

        assert [span.name for span in first.take()] == ["one"]
        assert [span.name for span in second.take()] == ["two", "three"]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:x", "no.such.host.invalid:2000"])
def test_what_can_not_be_sent_is_logged_and_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    monkeypatch.setenv(DAEMON, address)

    with caplog.at_level(logging.WARNING):
        result = XRayExporter().export(())

    assert result is SpanExportResult.FAILURE
    assert "could not be sent to X-Ray" in caplog.text


@pytest.mark.parametrize(
    ("environ", "is_imported"),
    [
        ({}, False),
        ({"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}, True),
        ({"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({ENDPOINT: "http://127.0.0.1:9"}, True),
    ],
)
def test_the_sdk_is_not_imported_ahead_of_need(
    processes: None, environ: dict[str, str], is_imported: bool
) -> None:
    """With X-Ray, few requests are sampled; but in a snapshot imports cost nothing."""
    code = "import sys, functions.aws_lambda.api_handler; print('opentelemetry.sdk' in sys.modules)"
    done = subprocess.run(
        [PYTHON, "-c", code],
        cwd=TASK_ROOT,
        env=environment({DAEMON: "127.0.0.1:2000", **environ}),
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines()[-1] == str(is_imported)
