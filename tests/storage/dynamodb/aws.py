"""A table and a bucket of a test's own, on moto's server."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
from moto.s3.models import S3Backend, s3_backends

from shared.storage.codec import decode, encode
from shared.storage.dynamodb import DynamoDBStore
from shared.storage.dynamodb.items import Entry, Item
from shared.storage.dynamodb.keys import Partitions, escape
from shared.storage.dynamodb.retries import RetryPolicy
from shared.storage.types import Place, StoredCompletion
from tests.storage.dynamodb.moto_server import ENVIRONMENT, REGION

_numbers = itertools.count()

PATIENT = RetryPolicy(budget=120, connect_timeout=30, read_timeout=60)
"""The server is in this process: on a busy machine it takes its time, which is no failure."""


def new_session() -> boto3.session.Session:
    """What stores and tests use the server with."""
    return boto3.session.Session(
        aws_access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
        region_name=REGION,
    )


@cache
def shared_session() -> boto3.session.Session:
    """One that has read what it needs of boto3's data; its clients are each test's own."""
    return new_session()


@dataclass(frozen=True, slots=True)
class Contents:
    """A tenant's completions, in order, and how many bodies lie in the bucket, theirs included."""

    completions: Sequence[StoredCompletion]
    n_bodies: int


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
        options.setdefault("session", shared_session())
        options.setdefault("retries", PATIENT)
        return DynamoDBStore(self.table, self.bucket, endpoint_url=url or self.url, **options)

    def items(self, prefix: str) -> list[Item]:
        """The items of partitions whose keys begin so: the table has those of many tests."""
        partitions = dict(_dynamodb().tables[self.table].items)
        found = (part for key, part in partitions.items() if key.value.startswith(prefix))
        return [item.to_json()["Attributes"] for part in found for item in part.values()]

    def bodies(self, part: str = "") -> dict[str, bytes]:
        """The objects of the bucket that have ``part`` in their keys."""
        found = _s3().buckets[self.bucket].keys.items()
        return {key: each.value for key, each in found if part in key}

    def check(self, tenant: str) -> Contents:
        """What there is of a tenant's chat completions, after checking that nothing dangles.

        Each entry has its body and just its index items; no index item is there without an entry.
        Bodies may be there that nothing refers to.
        """
        partitions = Partitions(tenant, "chat")
        prefix = f"{escape(tenant)}#chat#"
        items = self.items(prefix)
        bodies = self.bodies(f"/tenant={tenant}/")
        completions = []
        expected = set()
        for item in items:
            if "body" in item:
                entry = Entry.from_item(partitions, item, self.table)
                place = Place(tenant, "chat", entry.id)
                completions.append(decode(bodies[entry.body], entry.metadata, place, self.bucket))
                expected |= {_key(item) for item in (entry.item(), *entry.index_items())}
        assert {_key(item) for item in items} == expected
        completions.sort(key=lambda completion: completion.id)
        return Contents(completions, len(bodies))

    def put_item(self, item: Item) -> None:
        """Put an item into the table, whatever it is."""
        _dynamodb().tables[self.table].put_item(item)

    def change_entry(self, completion: StoredCompletion, changes: Mapping[str, Any]) -> None:
        """Replace attributes of a completion's entry, None to remove them."""
        item = {**Entry.of(completion).item(), **changes}
        self.put_item({name: value for name, value in item.items() if value is not None})

    def replace_body(self, completion: StoredCompletion, body: bytes | None) -> None:
        """Replace a completion's body, None to remove it."""
        key = Entry.of(completion).body
        if body is None:
            _s3().delete_object(self.bucket, key)
        else:
            _s3().put_object(self.bucket, key, body)

    def preload(self, completions: Iterable[StoredCompletion]) -> None:
        """Store completions past the server, by what it would do in the end: fast."""
        table, s3 = _dynamodb().tables[self.table], _s3()
        for completion in completions:
            entry = Entry.of(completion)
            for item in (entry.item(), *entry.index_items()):
                table.put_item(item)
            s3.put_object(self.bucket, entry.body, encode(completion))


def _dynamodb() -> DynamoDBBackend:
    return dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION]


def _s3() -> S3Backend:
    return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]


def _key(item: Item) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]
