"""moto's server, with what it lacks of DynamoDB's behaviour and the store relies on."""

from __future__ import annotations

import copy
import itertools
import json
import logging
import math
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any, cast
from unittest.mock import patch

from moto.core import responses
from moto.core import utils as core_utils
from moto.core.responses import ActionResult
from moto.core.serialize import JSONSerializer
from moto.dynamodb.exceptions import MockValidationException
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler

from shared.storage.dynamodb.items import Item
from tests.storage.dynamodb.moto_http import MotoHTTPServer

REGION = "us-east-1"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    # Whatever the user has configured: tests are for themselves.
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""What a process needs in order to use the server, together with ``AWS_ENDPOINT_URL``."""


@contextmanager
def moto_server() -> Iterator[str]:
    """A server on a free port, with nothing in it; gives its URL."""
    with ExitStack() as patches:
        for target, name, replacement in _corrections():
            patches.enter_context(patch.object(target, name, replacement, create=True))
        log = logging.getLogger("werkzeug")  # of each request
        patches.enter_context(patch.object(log, "level", logging.ERROR))
        server = MotoHTTPServer()
        server.start()
        try:
            yield server.url
        finally:
            server.stop()


def _corrections() -> list[tuple[object, str, Callable[..., Any]]]:
    call_action = DynamoHandler.call_action
    transact = DynamoHandler.transact_write_items
    query_table = Table.query
    query = DynamoHandler.query
    batch_get = DynamoHandler.batch_get_item
    serialize = JSONSerializer._serialize_type_structure
    method_names = cache(core_utils.method_names_from_class)
    request_numbers = itertools.count()
    lock = threading.RLock()
    tokens: dict[str, str] = {}
    transaction: list[dict[str, Any]] = []

    def one_at_a_time(handler: DynamoHandler) -> Any:
        """Others see all of a transaction or nothing, and a failed one undoes no other's work."""
        with lock:
            return call_action(handler)

    def idempotent(handler: DynamoHandler) -> ActionResult:
        """A transaction whose token was seen is not made again (AWS: within ten minutes)."""
        token = handler.body.get("ClientRequestToken")
        changes = json.dumps(handler.body["TransactItems"], sort_keys=True)
        if token in tokens:
            if tokens[token] != changes:
                raise MockValidationException("IdempotentParameterMismatchException")
            return ActionResult({})
        transaction[:] = [
            operation for each in handler.body["TransactItems"] for operation in each.values()
        ]
        result = transact(handler)
        if token:
            tokens[token] = changes
        return result

    def copied_on_write(table: Table, memo: dict[int, Any]) -> Table:
        """What a transaction goes back to: it puts and deletes items of its partitions, changes none.

        moto copies all items of the table for each item of a transaction.
        """
        old = copy.copy(table)
        old.items = copy.copy(table.items)
        for operation in transaction:
            key = DynamoType((operation.get("Key") or operation["Item"])[table.hash_key_attr])
            if key in old.items:
                old.items[key] = dict(old.items[key])
        return old

    def plain_as_it_is(
        serializer: JSONSerializer, serialized: Any, value: Any, shape: Any, key: str
    ) -> None:
        """An attribute's text or number needs no search for ten members by all their aliases.

        That was two fifths of the processor time of stores on moto, boto3's part included.
        """
        if shape.name == "AttributeValue" and list(value) in (["S"], ["N"]):
            serializer._default_serialize(serialized, value, shape, key)
        else:
            serialize(serializer, serialized, value, shape, key)

    def numbered(headers: dict[str, Any] | None = None) -> str:
        """A request's id without 52 random characters."""
        request_id = f"{next(request_numbers):052}"
        if headers is not None:
            headers["x-amzn-requestid"] = request_id
        return request_id

    def within_partition(table: Table, hash_key: Any, *arguments: Any, **options: Any) -> Any:
        """moto sorts the whole table for each query, which takes seconds for a big one."""
        partition = copy.copy(table)
        partition.items = defaultdict(dict, {hash_key: table.items.get(hash_key, {})})
        return query_table(partition, hash_key, *arguments, **options)

    def metered_query(handler: DynamoHandler) -> ActionResult:
        """For moto, a query takes 1 unit, whatever it reads."""
        answer = query(handler)
        body = cast("dict[str, Any]", answer.result)
        if "ConsumedCapacity" in body:
            size = sum(map(item_size, body["Items"]))
            body["ConsumedCapacity"]["CapacityUnits"] = _read_units(size)
        return answer

    def metered_batch_get(handler: DynamoHandler) -> ActionResult:
        """For moto, an item takes 1 unit, whatever its size."""
        answer = batch_get(handler)
        body = cast("dict[str, Any]", answer.result)
        for consumed in body["ConsumedCapacity"]:
            table = consumed["TableName"]
            found = body["Responses"][table]
            n_missing = len(handler.body["RequestItems"][table]["Keys"]) - len(found)
            units = sum(_read_units(item_size(item)) for item in found)
            consumed["CapacityUnits"] = units + n_missing
        return answer

    return [
        (responses, "method_names_from_class", method_names),  # of a class that does not change
        (responses, "gen_amzn_requestid_long", numbered),
        (DynamoHandler, "call_action", one_at_a_time),
        (DynamoHandler, "transact_write_items", idempotent),
        (Table, "__deepcopy__", copied_on_write),
        (JSONSerializer, "_serialize_type_structure", plain_as_it_is),
        (Table, "query", within_partition),
        (DynamoHandler, "query", metered_query),
        (DynamoHandler, "batch_get_item", metered_batch_get),
    ]


def item_size(item: Item) -> int:
    """An item's bytes by AWS's rules: UTF-8 of names and values; two digits are a byte, and one."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: Any) -> int:
    if "S" in value:
        return len(value["S"].encode())
    if "N" in value:
        return math.ceil(len(value["N"]) / 2) + 1
    return len(json.dumps(value))  # none that a store writes


def _read_units(size: int) -> int:
    """What reading that many bytes takes, strongly consistent: a unit for 4 KB, and for nothing."""
    return max(math.ceil(size / 4096), 1)
