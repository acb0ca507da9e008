"""CloudWatch metrics in the embedded metric format (EMF): one line of the log for each request.

CloudWatch makes metrics of the line, so nothing is called and nothing can fail. Each metric has one
dimension, the service; what has many values (ids, paths, statuses) is in the line, but no
dimension: CloudWatch bills every combination of a metric with dimensions as a metric of its own.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson
from aws_lambda_powertools.metrics.functions import is_metrics_disabled
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import (
    AmazonCloudWatchEMFProvider,
)

from functions.aws_lambda import invocation

if TYPE_CHECKING:
    from functions.aws_lambda.invocation import Invocation
    from shared.runtime.request_context import RequestContext

NAMESPACE = "pilotlight"


class EmfMetrics:
    """Observes requests (`shared.runtime.metrics.RequestObserver`) and writes a line for each."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._namespace = os.environ.get("POWERTOOLS_METRICS_NAMESPACE") or NAMESPACE
        self._version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION", "")
        self._is_disabled = is_metrics_disabled()  # POWERTOOLS_METRICS_DISABLED
        self._level = _least_level()

    def __call__(self, request: RequestContext) -> None:
        """Write the line, in one piece: requests may end at the same time."""
        current = invocation.current()
        if current is None or self._is_disabled:
            return
        # One for each request: Powertools' `Metrics` is one for the process, and mixes those up
        # that run at the same time.
        line = AmazonCloudWatchEMFProvider(namespace=self._namespace, service=self._service)
        _add_metrics(line, request, current)
        self._add_metadata(line, request, current)
        sys.stdout.write(orjson.dumps(line.serialize_metric_set()).decode() + "\n")
        sys.stdout.flush()

    def _add_metadata(
        self, line: AmazonCloudWatchEMFProvider, request: RequestContext, current: Invocation
    ) -> None:
        if self._level is not None:
            line.add_metadata("level", self._level)
            line.add_metadata("timestamp", datetime.now(UTC).isoformat(timespec="milliseconds"))
        line.add_metadata("function_request_id", current.request_id)
        line.add_metadata("function_version", self._version)
        line.add_metadata("initialization_type", invocation.initialization_type())
        line.add_metadata("request_id", request.request_id)
        line.add_metadata("method", request.method)
        line.add_metadata("path", request.path)
        line.add_metadata("status", request.status)
        if request.model is not None:
            line.add_metadata("model", request.model)


def _add_metrics(
    line: AmazonCloudWatchEMFProvider, request: RequestContext, current: Invocation
) -> None:
    line.add_metric("Requests", "Count", 1)
    line.add_metric("Errors", "Count", request.is_server_error)
    line.add_metric("Throttled", "Count", request.status == 429)
    line.add_metric("Latency", "Milliseconds", _milliseconds(request.seconds))
    line.add_metric("ColdStart", "Count", current.is_cold_start)
    if generation := request.generation:
        line.add_metric("QueueTime", "Milliseconds", _milliseconds(generation.queue_seconds))
        first_token = _milliseconds(generation.first_token_seconds)
        line.add_metric("TimeToFirstToken", "Milliseconds", first_token)
        line.add_metric("PromptTokens", "Count", generation.prompt_tokens)
        line.add_metric("CachedTokens", "Count", generation.cached_tokens)
        line.add_metric("CompletionTokens", "Count", generation.completion_tokens)
        if (rate := generation.tokens_per_second) is not None:
            line.add_metric("TokensPerSecond", "Count/Second", round(rate, 2))
        line.add_metric("DeadlineReached", "Count", request.is_deadline_reached)
    if request.store_started is not None:
        line.add_metric("StoreFailures", "Count", request.store_failures)
    if request.accounts_outage is not None:
        line.add_metric("AccountsFailures", "Count", 1)
        line.add_metadata("accounts_outage", request.accounts_outage)


def _least_level() -> str | None:
    """The level that lines need in order not to be dropped, None where any will do.

    Lambda takes those without a level and a time for INFO, and a function may be set to let only
    higher ones through; metrics are no matter of levels.
    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
    """
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO").upper()
    return level if level in ("WARN", "ERROR", "FATAL") else None


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
