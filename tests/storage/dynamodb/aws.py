"""A table and a bucket of a test's own, on moto's server."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
from moto.backends import get_backend
from moto.core.models import DEFAULT_ACCOUNT_ID

from shared.storage.codec import decode, encode
from shared.storage.dynamodb import DynamoDBStore
from shared.storage.dynamodb.items import Entry, Item, item_id
from shared.storage.dynamodb.keys import N_SHARDS, Partitions, deletions
from shared.storage.types import StoredCompletion
from tests.storage.dynamodb.moto_server import ENVIRONMENT, REGION

_numbers = itertools.count()


def new_session() -> boto3.session.Session:
    """What stores and tests use the server with."""
    return boto3.session.Session(
        aws_access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
        region_name=REGION,
    )


@cache
def _shared_session() -> boto3.session.Session:
    """One that has read what it needs of boto3's data; its clients are each test's own."""
    return new_session()


@dataclass(frozen=True, slots=True)
class Aws:
    """Where a store is, and what lies there in truth. Processes may hand it to each other."""

    url: str
    table: str
    bucket: str

    @classmethod
    def fresh(cls, url: str) -> Aws:
        """Names that nothing on the server has."""
        number = next(_numbers)
        return cls(url, f"completions-{number}", f"completions-{number}")

    def store(self, url: str | None = None, **options: Any) -> DynamoDBStore:
        """A store, at ``url`` if it shall not use the server directly."""
        options.setdefault("session", _shared_session())
        return DynamoDBStore(self.table, self.bucket, endpoint_url=url or self.url, **options)

    def items(self) -> list[Item]:
        """All items of the table."""
        client = _shared_session().client("dynamodb", endpoint_url=self.url)
        pages = client.get_paginator("scan").paginate(TableName=self.table)
        return [item for page in pages for item in page["Items"]]

    def bodies(self) -> dict[str, bytes]:
        """All objects of the bucket."""
        client = _shared_session().client("s3", endpoint_url=self.url)
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
        return {key: client.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys}

    def check(self, tenant: str) -> list[StoredCompletion]:
        """The tenant's chat completions, after checking that nothing dangles.

        Each entry has its body and just its index items; no index item is there without an entry.
        Bodies may be there that nothing refers to.
        """
        partitions = Partitions(tenant, "chat")
        items = {(item["pk"]["S"], item_id(item)): item for item in self.items()}
        bodies = self.bodies()
        expected = {key for key in items if key[0] in map(deletions, range(N_SHARDS))}
        completions = []
        for (partition, _), item in items.items():
            if partition not in map(partitions.entries, range(N_SHARDS)):
                continue
            entry = Entry.from_item(partitions, item)
            completions.append(decode(bodies[entry.body], entry.metadata, entry.body))
            expected |= {
                (item["pk"]["S"], item["sk"]["S"]) for item in (entry.item(), *entry.index_items())
            }
        assert set(items) == expected
        return sorted(completions, key=lambda completion: completion.id)

    def preload(self, completions: Iterable[StoredCompletion]) -> None:
        """Store completions past the server, by what it would do in the end: fast."""
        tables = get_backend("dynamodb")[DEFAULT_ACCOUNT_ID][REGION].tables
        s3 = get_backend("s3")[DEFAULT_ACCOUNT_ID]["aws"]
        for completion in completions:
            entry = Entry.of(completion)
            for item in (entry.item(), *entry.index_items()):
                tables[self.table].put_item(item)
            s3.put_object(self.bucket, entry.body, encode(completion))
