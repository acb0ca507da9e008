"""What a store reads, as DynamoDB and S3 bill it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import boto3


class Consumption:
    """Counts what all clients of a session read.

    ``requests`` to DynamoDB; ``items`` that these looked at (``ScannedCount`` of queries, the items
    found by others); ``units``, read units as DynamoDB says (``ReturnConsumedCapacity``); ``bodies``
    got from S3.
    """

    def __init__(self, session: boto3.session.Session) -> None:
        self.reset()
        for operation in ("GetItem", "BatchGetItem", "Query"):
            session.events.register(f"provide-client-params.dynamodb.{operation}", self._ask)
            session.events.register(f"after-call.dynamodb.{operation}", self._count)
        session.events.register("after-call.s3.GetObject", self._count_body)

    def reset(self) -> None:
        """Count from 0 again."""
        self.requests = self.items = self.bodies = 0
        self.units = 0.0

    def _ask(self, params: dict[str, Any], **_: Any) -> None:
        params["ReturnConsumedCapacity"] = "TOTAL"

    def _count(self, parsed: Mapping[str, Any], **_: Any) -> None:
        self.requests += 1
        found = parsed.get("Responses", {}).values()
        self.items += parsed.get("ScannedCount", 0) + ("Item" in parsed) + sum(map(len, found))
        consumed = parsed["ConsumedCapacity"]
        for part in consumed if isinstance(consumed, list) else [consumed]:
            self.units += part["CapacityUnits"]

    def _count_body(self, **_: Any) -> None:
        self.bodies += 1
