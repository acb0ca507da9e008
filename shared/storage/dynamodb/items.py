"""Items of the table, as DynamoDB writes them and as pilotlight does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.storage.base import DamagedCompletionError
from shared.storage.codec import decode_metadata, encode_metadata
from shared.storage.dynamodb.keys import (
    Partitions,
    body_key,
    deletions,
    is_body_key,
    is_id,
    shard_of,
)
from shared.storage.types import CompletionQuery, StoredCompletion

if TYPE_CHECKING:
    from types_boto3_dynamodb.type_defs import AttributeValueTypeDef

Item = dict[str, "AttributeValueTypeDef"]
"""An item's attributes, or those of its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the table has of a completion: all that finding, changing and deleting it takes.

    ``body`` is the body's key, ``version`` counts the changes of the metadata.
    """

    partitions: Partitions
    id: str
    model: str
    metadata: Mapping[str, str]
    body: str
    expires_at: int | None
    version: int = 1

    @classmethod
    def of(cls, completion: StoredCompletion) -> Entry:
        """The entry of a new completion."""
        return cls(
            partitions=Partitions(completion.tenant, completion.kind),
            id=completion.id,
            model=completion.model,
            metadata=dict(completion.metadata),
            body=body_key(completion),
            expires_at=completion.expires_at,
        )

    @classmethod
    def from_item(cls, partitions: Partitions, item: Item, table: str) -> Entry:
        """The entry that ``item`` of ``table`` is; raises `DamagedCompletionError`."""
        completion_id = item_id(item)
        try:
            if not is_id(completion_id):
                raise ValueError("that is no id")
            body = body_of(partitions, item)
            if body is None:
                raise ValueError("it does not say where the body is")
            return cls(
                partitions=partitions,
                id=completion_id,
                model=item["model"]["S"],
                metadata=decode_metadata(item["metadata"]["S"]),
                body=body,
                expires_at=int(item["ttl"]["N"]) if "ttl" in item else None,
                version=int(item["version"]["N"]),
            )
        except (KeyError, ValueError) as error:
            reason = f"there is no {error}" if isinstance(error, KeyError) else error
            raise DamagedCompletionError(
                completion_id, f"table {table}", f"the item can't be read: {reason}"
            ) from error

    def matches(self, query: CompletionQuery) -> bool:
        """Whether the query's filters let it through."""
        return query.model in (None, self.model) and query.metadata.items() <= self.metadata.items()

    def key(self) -> Item:
        """The key of the entry's item."""
        return entry_key(self.partitions, self.id)

    def item(self) -> Item:
        """The entry's item; raises `StoreError` for metadata that JSON does not have."""
        attributes: Item = {
            "model": {"S": self.model},
            # One string: nested names of DynamoDB can't be empty, keys of metadata can.
            "metadata": {"S": encode_metadata(self.id, self.metadata)},
            "body": {"S": self.body},
            "version": {"N": str(self.version)},
        }
        return self.key() | attributes | self._ttl()

    def index_items(self) -> Iterator[Item]:
        """The items that the entry is found by: of its model and of each pair of its metadata."""
        shard = shard_of(self.id)
        yield _key(self.partitions.of_model(self.model, shard), self.id) | self._ttl()
        yield from self.pair_items(self.metadata)

    def pair_items(self, pairs: Mapping[str, str]) -> Iterator[Item]:
        """The items that the entry is found by if it has ``pairs``."""
        for name, value in pairs.items():
            partition = self.partitions.of_pair(name, value, shard_of(self.id))
            yield _key(partition, self.id) | self._ttl()

    def deletion_item(self) -> Item:
        """The item that says that the entry is gone and its body is to follow."""
        return deletion_item(self.partitions, self.id, self.body)

    def _ttl(self) -> Item:
        """DynamoDB removes items some time after their ``ttl``, in seconds since 1970."""
        return {} if self.expires_at is None else {"ttl": {"N": str(self.expires_at)}}


def entry_key(partitions: Partitions, completion_id: str) -> Item:
    """The key of a completion's entry."""
    return _key(partitions.entries(shard_of(completion_id)), completion_id)


def deletion_item(partitions: Partitions, completion_id: str, body: str) -> Item:
    """The item that says that an entry is gone and its body is to follow."""
    attributes: Item = {"body": {"S": body}}
    return deletion_key(partitions, completion_id) | attributes


def deletion_key(partitions: Partitions, completion_id: str) -> Item:
    """The key of a completion's deletion; `deleted_entry_key` is the way back."""
    shard = shard_of(completion_id)
    return _key(deletions(shard), f"{partitions.entries(shard)}#{completion_id}")


def deleted_entry_key(deletion: Item) -> Item:
    """The key of the entry that a deletion has removed."""
    partition, _, completion_id = item_id(deletion).rpartition("#")
    return _key(partition, completion_id)


def body_of(partitions: Partitions, item: Item) -> str | None:
    """The key of the body of the completion that ``item`` is of, None if it does not say that.

    Whatever else it says is nothing to read, and nothing to delete: it may be another's.
    """
    key = item.get("body", {}).get("S")
    return key if isinstance(key, str) and is_body_key(key, partitions, item_id(item)) else None


def item_key(item: Item) -> Item:
    """The key of an item."""
    return {"pk": item["pk"], "sk": item["sk"]}


def item_id(item: Item) -> str:
    """The id that an item is sorted by."""
    return item["sk"]["S"]


def is_live(item: Item, now: float) -> bool:
    """Whether an item has not expired. DynamoDB takes a few days to remove what has.

    For DynamoDB, too, an item whose ``ttl`` is no number never expires.
    """
    ttl = item.get("ttl", {}).get("N")
    return ttl is None or float(ttl) > now


def _key(partition: str, sort_key: str) -> Item:
    return {"pk": {"S": partition}, "sk": {"S": sort_key}}
