"""Calls to the DynamoDB table."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from shared.storage.base import StoreError
from shared.storage.dynamodb.clients import Clients
from shared.storage.dynamodb.items import Item, item_key
from shared.storage.dynamodb.recent_writes import RecentWrites
from shared.storage.dynamodb.retries import (
    AWS_ERRORS,
    Budget,
    error_code,
    is_failed_condition,
    may_have_succeeded,
)

if TYPE_CHECKING:
    from types_boto3_dynamodb.type_defs import (
        KeysAndAttributesTypeDef,
        PutItemInputTypeDef,
        QueryInputTypeDef,
        TransactWriteItemTypeDef,
    )

MAX_BATCH = 100
"""Items that one BatchGetItem may ask for."""


@dataclass(frozen=True, slots=True)
class ItemPage:
    """Items of a partition in order; ``is_last`` if there are none behind them."""

    items: Sequence[Item]
    is_last: bool


class Table:
    """A table, read consistently: what was written is seen.

    Raises AWS's errors and `StoreError`.
    """

    def __init__(self, clients: Clients, name: str) -> None:
        self._clients = clients
        self.name = name

    def get(self, budget: Budget, key: Item) -> Item | None:
        """An item, None if there is none."""
        response = budget.run(
            lambda: self._clients.dynamodb.get_item(
                TableName=self.name, Key=key, ConsistentRead=True
            )
        )
        return response.get("Item")

    def get_all(self, budget: Budget, keys: Sequence[Item]) -> list[Item]:
        """Those of up to `MAX_BATCH` different items that there are, in any order."""
        found: list[Item] = []
        backoff = budget.backoff()
        left = list(keys)
        while left:
            asked: dict[str, KeysAndAttributesTypeDef]
            asked = {self.name: {"Keys": left, "ConsistentRead": True}}
            client = self._clients.dynamodb
            response = budget.run(partial(client.batch_get_item, RequestItems=asked))
            found += response["Responses"].get(self.name, [])
            left = response["UnprocessedKeys"].get(self.name, {"Keys": []})["Keys"]
            if left:
                backoff.pause("DynamoDB left keys unprocessed")
        return found

    def query(
        self,
        budget: Budget,
        partition: str,
        bounds: tuple[str, str],
        *,
        limit: int,
        descending: bool = False,
        behind: str | None = None,
    ) -> ItemPage:
        """Up to ``limit`` items of a partition with sort keys from the first bound to the second.

        Both are inclusive. ``behind``: only those that follow this sort key, in the direction.
        """
        request: QueryInputTypeDef = {
            "TableName": self.name,
            "KeyConditionExpression": "pk = :pk AND sk BETWEEN :first AND :last",
            "ExpressionAttributeValues": {
                ":pk": {"S": partition},
                ":first": {"S": bounds[0]},
                ":last": {"S": bounds[1]},
            },
            "ConsistentRead": True,
            "Limit": limit,
            "ScanIndexForward": not descending,
        }
        if behind is not None:
            request["ExclusiveStartKey"] = {"pk": {"S": partition}, "sk": {"S": behind}}
        response = budget.run(lambda: self._clients.dynamodb.query(**request))
        return ItemPage(response["Items"], is_last="LastEvaluatedKey" not in response)

    def write(self, budget: Budget, changes: Sequence[TransactWriteItemTypeDef]) -> bool:
        """Make all changes or none; False if a condition of theirs does not hold."""
        # The same token with each attempt: one that arrives late, when the answer was lost and
        # others have changed the items since, does nothing.
        token = uuid.uuid4().hex
        try:
            budget.run(
                lambda: self._clients.dynamodb.transact_write_items(
                    TransactItems=changes, ClientRequestToken=token
                )
            )
        except ClientError as error:
            if is_failed_condition(error):
                return False
            raise
        return True

    def put_one(self, budget: Budget, item: Item, version: int, writes: RecentWrites) -> bool:
        """Put an item in the place of its ``version``, 0 for none; False if that is not there.

        Costs half of what `write` does. ``writes``: the item's, this one the first. Raises
        `StoreError` where nobody can tell any more whether an attempt was made whose answer got
        lost.
        """
        request: PutItemInputTypeDef = {
            "TableName": self.name,
            "Item": item,
            "ConditionExpression": "attribute_not_exists(pk)",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if version:
            request["ConditionExpression"] = "#version = :version"
            request["ExpressionAttributeNames"] = {"#version": "version"}
            request["ExpressionAttributeValues"] = {":version": {"N": str(version)}}
        is_doubtful = False

        def put() -> None:
            nonlocal is_doubtful
            try:
                self._clients.dynamodb.put_item(**request)
            except AWS_ERRORS as error:
                is_doubtful |= may_have_succeeded(error)
                raise

        try:
            budget.run(put)
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            if not is_doubtful:
                return False
            there: Item = error.response.get("Item", {})  # type: ignore[assignment]
            is_made = _is_made(there, version, writes)
            if is_made is None:
                raise StoreError("the answer to a write was lost, and too many followed") from error
            return is_made
        return True

    def addition(self, item: Item) -> TransactWriteItemTypeDef:
        """Put a new item; the condition is that there is none."""
        condition = "attribute_not_exists(pk)"
        return {"Put": {"TableName": self.name, "Item": item, "ConditionExpression": condition}}

    def replacement(self, item: Item, version: int) -> TransactWriteItemTypeDef:
        """Put an item in the place of its ``version``; the condition is that it is there."""
        return {
            "Put": {
                "TableName": self.name,
                "Item": item,
                "ConditionExpression": "#version = :version",
                "ExpressionAttributeNames": {"#version": "version"},
                "ExpressionAttributeValues": {":version": {"N": str(version)}},
            }
        }

    def put(self, item: Item) -> TransactWriteItemTypeDef:
        """Put an item, whatever is there."""
        return {"Put": {"TableName": self.name, "Item": item}}

    def removal(self, item: Item, version: int) -> TransactWriteItemTypeDef:
        """Remove ``version`` of an item; the condition is that it is there."""
        return {
            "Delete": {
                "TableName": self.name,
                "Key": item_key(item),
                "ConditionExpression": "#version = :version",
                "ExpressionAttributeNames": {"#version": "version"},
                "ExpressionAttributeValues": {":version": {"N": str(version)}},
            }
        }

    def remove(self, item: Item) -> TransactWriteItemTypeDef:
        """Remove an item, if there is one with its key."""
        return {"Delete": {"TableName": self.name, "Key": item_key(item)}}

    def delete(self, budget: Budget, key: Item) -> None:
        """Delete an item, if it is there."""
        budget.run(lambda: self._clients.dynamodb.delete_item(TableName=self.name, Key=key))


def _is_made(there: Item, version: int, writes: RecentWrites) -> bool | None:
    """Whether the first of ``writes``, to ``version``, was made, by the item that is there now."""
    if not there:
        return None if version else False
    made = RecentWrites.of(there.get("writes", {}).get("S", ""))
    return made.has_made(writes.ids[0], int(there["version"]["N"]) - (version + 1))
