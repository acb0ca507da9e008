"""Keys: partitions of the table, shards, and keys of bodies in the bucket.

All of this is part of the data's format: what is stored is found only as long as it stays.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from urllib.parse import quote

from shared.storage.types import Kind, StoredCompletion

N_SHARDS = 4
"""Partitions that a list is spread over: one takes 1,000 write units a second (docs/scale.md)."""

RETENTION_DAYS = (*range(1, 366), *range(2 * 365, 10 * 365 + 1, 365))
"""After how many days bodies may expire: the bucket has a lifecycle rule for each of these."""

BODIES = "completions/"
"""What keys of bodies begin with."""

_ID = re.compile(r"[A-Za-z0-9_.\-]{1,128}")
_MAX_ESCAPED = 200
_MAX_SORT_KEY = 1024


def is_id(text: str) -> bool:
    """Whether ``text`` may be a completion's id: it becomes a part of keys as it is."""
    return _ID.fullmatch(text) is not None


def may_be_sort_key(text: str) -> bool:
    """Whether there may be an item with the sort key ``text``."""
    return 0 < len(text.encode(errors="surrogatepass")) <= _MAX_SORT_KEY


def shard_of(completion_id: str) -> int:
    """The shard, from the id alone, so that nothing needs to be looked up."""
    return zlib.crc32(completion_id.encode()) % N_SHARDS


@dataclass(frozen=True, slots=True)
class Partitions:
    """The partition keys of a tenant's completions of one kind."""

    tenant: str
    kind: Kind

    def entries(self, shard: int) -> str:
        """Of the completions themselves."""
        return f"{escape(self.tenant)}#{self.kind}#{shard}"

    def of_model(self, model: str, shard: int) -> str:
        """Of the completions of a model."""
        return f"{escape(self.tenant)}#{self.kind}#m#{_digest(model)}#{shard}"

    def of_pair(self, key: str, value: str, shard: int) -> str:
        """Of the completions with a pair of metadata."""
        return f"{escape(self.tenant)}#{self.kind}#p#{_digest([key, value])}#{shard}"


def deletions(shard: int) -> str:
    """The partition of deletions that have begun, of all tenants.

    No tenant's, whatever its name: theirs have two ``#`` or more, and names none.
    """
    return f"deletions#{shard}"


def body_key(completion: StoredCompletion) -> str:
    """The body's key in the bucket, the same whenever it is asked for.

    Written as Hive and Athena write partitions, by the day of ``created`` in UTC. The retention
    comes first, since lifecycle rules choose by prefix.
    """
    day = datetime.fromtimestamp(completion.created, UTC).date().isoformat()
    return (
        f"{retention_prefix(_retention(completion))}tenant={escape(completion.tenant)}/"
        f"kind={completion.kind}/day={day}/{completion.id}.json.gz"
    )


def is_body_key(key: str, partitions: Partitions, completion_id: str) -> bool:
    """Whether `body_key` may have made ``key`` for that completion, whenever it expires."""
    owner = f"/tenant={escape(partitions.tenant)}/kind={partitions.kind}/"
    return key.startswith(BODIES) and owner in key and key.endswith(f"/{completion_id}.json.gz")


def retention_prefix(days: int | None) -> str:
    """What keys of bodies begin with that may expire after ``days``, None for never."""
    return f"{BODIES}retention={'none' if days is None else days}/"


def escape(tenant: str) -> str:
    """The tenant in characters that keys may have: no ``#``, ``/`` or ``=``. Unique for each.

    Percent-encoding, as Hive escapes names of partitions. Names that would take more than 200
    bytes become a digest, behind a sign that percent-encoding never leaves alone.
    """
    escaped = quote(tenant, safe="", errors="surrogatepass")
    return escaped if len(escaped) <= _MAX_ESCAPED else f"@{_digest(tenant)}"


def _digest(value: str | list[str]) -> str:
    """128 bits of a hash of the JSON: pairs may be longer than DynamoDB's keys (2,048 bytes)."""
    return blake2b(json.dumps(value).encode(), digest_size=16).hexdigest()


def _retention(completion: StoredCompletion) -> int | None:
    """The least of `RETENTION_DAYS` that the completion lives for, None if no rule is that long."""
    if completion.expires_at is None:
        return None
    days = math.ceil((completion.expires_at - completion.created) / 86400)
    at = bisect_left(RETENTION_DAYS, days)
    return RETENTION_DAYS[at] if at < len(RETENTION_DAYS) else None
