"""The rules of CloudWatch's embedded metric format, as far as a line can break them.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

UNITS = {
    "Seconds",
    "Microseconds",
    "Milliseconds",
    *(f"{size}{unit}" for unit in ("bytes", "bits") for size in ("Kilo", "Mega", "Giga", "Tera")),
    "Bytes",
    "Bits",
    "Percent",
    "Count",
    "Count/Second",
    "None",
}
EVENT_LIMIT = 256 * 1024
"""Bytes of a log event; the limit was raised to 1 MB in 2025, but not for all that reads them."""


def problems(line: str) -> Iterator[str]:
    """What is wrong with a line that is to be a metric."""
    if len(line.encode()) > EVENT_LIMIT:
        yield "the event is too long"
    root = json.loads(line)
    if not isinstance(root, dict) or not isinstance(root.get("_aws"), dict):
        yield "no _aws object"
        return
    timestamp = root["_aws"].get("Timestamp")
    if not isinstance(timestamp, int) or not 1_500_000_000_000 < timestamp < 5_000_000_000_000:
        yield f"Timestamp is no time in milliseconds: {timestamp}"
    directives = root["_aws"].get("CloudWatchMetrics")
    if not isinstance(directives, list) or not directives:
        yield "CloudWatchMetrics is no array"
        return
    for directive in directives:
        yield from _directive_problems(directive, root)


def _directive_problems(directive: dict[str, Any], root: dict[str, Any]) -> Iterator[str]:
    if set(directive) != {"Namespace", "Dimensions", "Metrics"}:
        yield f"unknown members: {set(directive)}"
    if not 1 <= len(directive["Namespace"]) <= 255 or directive["Namespace"].startswith("AWS/"):
        yield "Namespace"
    for names in directive["Dimensions"]:
        if len(names) > 30 or len(set(names)) < len(names):
            yield f"dimensions: {names}"
        for name in names:
            value = root.get(name)
            if not isinstance(value, str) or not 1 <= len(value) <= 1024 or not value.isascii():
                yield f"dimension {name} has the value {value!r}"
    names = [metric["Name"] for metric in directive["Metrics"]]
    if not 1 <= len(names) <= 100 or len(set(names)) < len(names):
        yield f"metrics: {names}"
    for metric in directive["Metrics"]:
        yield from _metric_problems(metric, root)


def _metric_problems(metric: dict[str, Any], root: dict[str, Any]) -> Iterator[str]:
    name = metric["Name"]
    if not set(metric) <= {"Name", "Unit", "StorageResolution"} or not 1 <= len(name) <= 255:
        yield f"metric {metric}"
    if metric.get("Unit") not in UNITS:
        yield f"the unit of {name}: {metric.get('Unit')}"
    if metric.get("StorageResolution", 60) not in (1, 60):
        yield f"the resolution of {name}"
    if name not in root:
        yield f"no value for {name}"
        return
    values = root[name] if isinstance(root[name], list) else [root[name]]
    if not 1 <= len(values) <= 100:
        yield f"{name} has {len(values)} values"
    for value in values:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not -(2.0**360) <= value <= 2.0**360:
            yield f"{name} is {value!r}"
