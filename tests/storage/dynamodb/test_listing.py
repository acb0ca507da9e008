"""Lists of many completions hold what they should, and read little more than that."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from shared.storage.dynamodb import DynamoDBStore
from shared.storage.types import CompletionQuery, StoredCompletion
from tests.storage.completions import sample
from tests.storage.dynamodb.aws import Aws, new_session
from tests.storage.dynamodb.consumption import Consumption
from tests.storage.dynamodb.queries import TENANT, completions, mixed_queries, queries

COUNT = 2000
"""Completions that are listed; `benchmarks.store_cost` does the same with ten times as many."""


@pytest.fixture(scope="module")
def stored() -> list[StoredCompletion]:
    """What is in the table, in order."""
    return list(completions(COUNT))


@pytest.fixture(scope="module")
def aws(moto_url: str, stored: list[StoredCompletion]) -> Aws:
    """A table with a tenant's completions."""
    aws = Aws.fresh(moto_url)
    with closing(aws.store()) as store:
        store.initialize()
    aws.preload(stored)
    return aws


@pytest.fixture(scope="module")
def metered(aws: Aws) -> Iterator[tuple[DynamoDBStore, Consumption]]:
    """A store, and what it reads."""
    session = new_session()
    consumption = Consumption(session)
    with closing(aws.store(session=session)) as store:
        yield store, consumption


def matching(stored: list[StoredCompletion], query: CompletionQuery) -> list[StoredCompletion]:
    """What a query should find, without its limit."""
    found = [
        completion
        for completion in stored
        if query.model in (None, completion.model)
        and query.metadata.items() <= completion.metadata.items()
    ]
    if query.order == "desc":
        found.reverse()
    if query.after is not None:
        found = [
            completion
            for completion in found
            if (completion.id < query.after) == (query.order == "desc")
            and completion.id != query.after
        ]
    return found


@pytest.mark.parametrize("name", queries(COUNT))
def test_what_a_page_reads_follows_the_page(
    name: str, metered: tuple[DynamoDBStore, Consumption], stored: list[StoredCompletion]
) -> None:
    store, consumption = metered
    query = CompletionQuery(tenant=TENANT, kind="chat", **queries(COUNT)[name])
    expected = matching(stored, query)

    consumption.reset()
    page = store.list(query)

    assert list(page.completions) == expected[: query.limit]
    assert page.has_more == (len(expected) > query.limit)
    assert consumption.bodies == len(page.completions)
    assert consumption.items <= 8 * query.limit
    assert consumption.units <= 3 * query.limit
    assert consumption.requests <= 16


@pytest.mark.parametrize("name", mixed_queries())
def test_pairs_that_few_have_together_are_joined_by_their_keys(
    name: str, metered: tuple[DynamoDBStore, Consumption], stored: list[StoredCompletion]
) -> None:
    store, consumption = metered
    query = CompletionQuery(tenant=TENANT, kind="chat", **mixed_queries()[name])
    expected = matching(stored, query)

    consumption.reset()
    page = store.list(query)

    assert list(page.completions) == expected[: query.limit]
    assert page.has_more == (len(expected) > query.limit)
    lengths = [
        sum(completion.metadata[key] == value for completion in stored)
        for key, value in query.metadata.items()
    ]
    lengths.append(sum(completion.model == query.model for completion in stored))
    assert consumption.items < sum(lengths) + 8 * query.limit
    assert consumption.units < sum(lengths) / 4


@pytest.mark.parametrize(
    "filters", [{"metadata": {"project": "apollo"}}, {"model": "huge"}], ids=["pair", "model"]
)
def test_a_filter_that_matches_nothing_reads_nothing(
    filters: dict[str, Any], metered: tuple[DynamoDBStore, Consumption]
) -> None:
    store, consumption = metered
    consumption.reset()

    page = store.list(CompletionQuery(tenant=TENANT, kind="chat", **filters))

    assert not page.completions
    assert consumption.items == 0
    assert consumption.requests == 4


def test_pages_make_up_what_the_filters_let_through(shared_aws: Aws, tenant: str) -> None:
    choose = random.Random(1)
    stored = [
        sample(
            number,
            tenant=tenant,
            model=choose.choice(["small", "large"]),
            # From pairs that nearly all have to pairs that hardly any has.
            metadata={
                name: str(int(choose.expovariate(rate)))
                for name, rate in (("often", 3), ("some", 1), ("seldom", 0.3), ("rare", 0.05))
                if choose.random() < 0.9
            },
        )
        for number in range(300)
    ]
    shared_aws.preload(stored)
    with closing(shared_aws.store()) as store:
        for _ in range(30):
            example = choose.choice(stored)
            names = choose.sample(list(example.metadata), min(len(example.metadata), 3))
            query = CompletionQuery(
                tenant=tenant,
                kind="chat",
                limit=choose.choice([1, 5, 100]),
                order=choose.choice(["asc", "desc"]),
                after=choose.choice([None, choose.choice(stored).id]),
                model=choose.choice([None, example.model]),
                metadata={name: example.metadata[name] for name in names},
            )

            page = store.list(query)

            expected = matching(stored, query)
            assert list(page.completions) == expected[: query.limit]
            assert page.has_more == (len(expected) > query.limit)
