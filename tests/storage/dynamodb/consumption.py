"""What calls to DynamoDB read, counted from their answers as AWS bills them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import boto3

_UNIT = 4096
"""Bytes that one unit reads, strongly consistent."""


class Consumption:
    """Counts the reads of all clients that a session makes, and what is got from S3.

    ``items`` is ``ScannedCount`` for queries, the items found for others. ``units`` are read units
    by AWS's rules, from the items' sizes: 4 KB each, rounded up for a query as a whole and for each
    item of BatchGetItem; a read that finds nothing takes one. ``reported_units`` are those that the
    server says (``ReturnConsumedCapacity``), which for moto is a constant for each call.
    """

    def __init__(self, session: boto3.session.Session) -> None:
        self.reset()
        for operation in ("GetItem", "BatchGetItem", "Query"):
            session.events.register(f"provide-client-params.dynamodb.{operation}", self._ask)
            session.events.register(f"after-call.dynamodb.{operation}", self._count)
        session.events.register("after-call.s3.GetObject", self._count_body)

    def reset(self) -> None:
        """Count from 0 again."""
        self.requests = self.items = self.units = self.bodies = 0
        self.reported_units = 0.0

    def _ask(self, params: dict[str, Any], **_: Any) -> None:
        params["ReturnConsumedCapacity"] = "TOTAL"

    def _count(self, parsed: Mapping[str, Any], **_: Any) -> None:
        self.requests += 1
        batches = parsed.get("Responses", {})
        self.items += parsed.get("ScannedCount", 0) + sum(map(len, batches.values()))
        if "Items" in parsed:
            self.units += _units(sum(map(_size, parsed["Items"])))
        self.units += sum(_units(_size(item)) for batch in batches.values() for item in batch)
        consumed = parsed.get("ConsumedCapacity", [])
        for part in consumed if isinstance(consumed, list) else [consumed]:
            self.reported_units += part["CapacityUnits"]

    def _count_body(self, **_: Any) -> None:
        self.bodies += 1


def _units(size: int) -> int:
    return max(math.ceil(size / _UNIT), 1)


def _size(item: Mapping[str, Mapping[str, str]]) -> int:
    """An item's bytes: names and values in UTF-8; a number has one for two digits, and one."""
    return sum(
        len(name.encode()) + _value_size(*next(iter(value.items()))) for name, value in item.items()
    )


def _value_size(kind: str, value: str) -> int:
    return math.ceil(len(value) / 2) + 1 if kind == "N" else len(value.encode())
