"""Span exporter to X-Ray's daemon, which Lambda runs beside each function.

A datagram with a line of JSON, ``T1S`` for spans of sampled traces, and OTLP's bytes in base64: as
the exporter of AWS's own distribution of OpenTelemetry writes it, which is in no package by itself.
Nobody waits for an answer, since there is none; the daemon is outside of the process, so it sends
on what it has while the function is frozen. A span has a datagram of its own: these hold 64 kB.

Imports OpenTelemetry's SDK, so only what traces imports this module.

https://github.com/aws-observability/aws-otel-python-instrumentation
"""

from __future__ import annotations

import base64
import logging
import os
import socket
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

DAEMON = "AWS_XRAY_DAEMON_ADDRESS"
_HEADER = b'{"format":"json","version":1}\nT1S'

_log = logging.getLogger("pilotlight.tracing")


class XRayExporter(SpanExporter):
    """Exporter to the daemon of the environment: a restored copy may have another than others."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send ``spans``; what can't be sent is lost, with a line in the log."""
        try:
            host, _, port = os.environ[DAEMON].rpartition(":")
            encoded = base64.b64encode(encode_spans(spans).SerializeToString())
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
                datagrams.setblocking(False)
                datagrams.sendto(_HEADER + encoded, (host, int(port)))
        except (LookupError, ValueError, OSError) as error:
            _log.warning("a span could not be sent to X-Ray: %s", error)
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS
