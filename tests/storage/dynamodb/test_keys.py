"""Where things lie in the table and the bucket."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from shared.storage.dynamodb.items import Entry, deleted_entry_key
from shared.storage.dynamodb.keys import (
    N_SHARDS,
    RETENTION_DAYS,
    Partitions,
    body_key,
    deletions,
    escape,
    is_id,
    shard_of,
)
from shared.storage.types import Kind, new_id
from tests.storage.completions import sample, sample_id

AWKWARD_TENANTS = [
    "",
    "a",
    "a#chat#0",
    "a#chat",
    "a%23chat",
    "#",
    "##",
    "deletions",
    "a/kind=text",
    "@" + "0" * 32,
    "ä",
    "x" * 200,
    "x" * 201,
    "x" * 202,
    "ä" * 70,
    "\ud800",
]


def test_shards_get_equal_parts_of_ids_made_one_after_the_other() -> None:
    counts = Counter(shard_of(new_id("chatcmpl")) for _ in range(8000))

    assert set(counts) == set(range(N_SHARDS))
    # Six standard deviations of a binomial with 8,000 trials and probability 1/4.
    assert all(abs(count - 2000) < 6 * 38.7 for count in counts.values())


def test_the_shard_of_an_id_never_changes() -> None:
    shards = [shard_of(sample_id(number)) for number in range(12)]

    assert shards == [2, 1, 3, 1, 2, 3, 2, 3, 1, 1, 3, 3]


def test_no_two_lists_share_a_partition() -> None:
    kinds: list[Kind] = ["chat", "text"]
    names = [deletions(shard) for shard in range(N_SHARDS)]
    for tenant, kind, shard in product(AWKWARD_TENANTS, kinds, range(N_SHARDS)):
        partitions = Partitions(tenant, kind)
        names.append(partitions.entries(shard))
        names += [partitions.of_model(model, shard) for model in ("m", "m#0", "")]
        pairs = [("k", "v"), ("k", ""), ("", "k"), ("kv", ""), ("k#v", "0"), ('k","v', "")]
        names += [partitions.of_pair(*pair, shard) for pair in pairs]

    assert len(set(names)) == len(names)
    assert all(len(name.encode()) <= 2048 for name in names)


def test_no_two_tenants_share_a_prefix_of_bodies() -> None:
    keys = [body_key(sample(tenant=tenant)) for tenant in AWKWARD_TENANTS]

    assert len({key.rpartition("/")[0] for key in keys}) == len(keys)
    assert all(len(key.encode()) <= 1024 and key.count("/") == 5 for key in keys)


def test_a_body_lies_where_athena_looks_for_it() -> None:
    completion = sample(86_400_000, tenant="a b", kind="text")

    assert body_key(completion) == (
        f"completions/retention=none/tenant=a%20b/kind=text/day=2025-01-02/{completion.id}.json.gz"
    )


@pytest.mark.parametrize(
    ("seconds", "days"),
    [
        (1, 1),
        (86_400, 1),
        (86_401, 2),
        (30 * 86_400, 30),
        (365 * 86_400, 365),
        (366 * 86_400, 730),
        (3650 * 86_400, 3650),
        (-5, 1),
    ],
)
def test_a_body_lies_where_a_lifecycle_rule_finds_it_in_time(seconds: int, days: int) -> None:
    created = sample(tenant="a").created

    key = body_key(sample(tenant="a", expires_at=created + seconds))

    assert key.startswith(f"completions/retention={days}/")
    assert days in RETENTION_DAYS


def test_no_rule_waits_for_more_than_ten_years() -> None:
    created = sample(tenant="a").created

    key = body_key(sample(tenant="a", expires_at=created + 3651 * 86_400))

    assert key.startswith("completions/retention=none/")


def test_a_deletion_knows_its_entry() -> None:
    for tenant in AWKWARD_TENANTS:
        entry = Entry.of(sample(tenant=tenant))

        assert deleted_entry_key(entry.deletion_item()) == entry.key()


def test_what_a_completion_is_found_by_expires_with_it() -> None:
    completion = sample(tenant="a", metadata={"k": "v", "l": "w"}, expires_at=1_800_000_000)
    entry = Entry.of(completion)

    items = [entry.item(), *entry.index_items()]

    assert len(items) == 4
    assert all(item["ttl"] == {"N": "1800000000"} for item in items)


@pytest.mark.parametrize("text", ["", "a#b", "a/b", "a b", "ä", "a" * 129, "a\n"])
def test_other_texts_are_no_ids(text: str) -> None:
    assert not is_id(text)


def test_a_tenant_reads_as_it_is_where_that_is_possible() -> None:
    assert escape("team-7.example_org~x") == "team-7.example_org~x"
