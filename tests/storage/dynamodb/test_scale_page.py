"""docs/scale.md says what the code does."""

from __future__ import annotations

from pathlib import Path

from benchmarks import store_cost
from shared.storage.dynamodb.keys import N_SHARDS
from tests.storage.dynamodb.queries import mixed_queries, queries

PAGE = (Path(__file__).parents[3] / "docs" / "scale.md").read_text()


def test_what_storing_costs_is_what_the_page_says() -> None:
    rows = [line for line in store_cost.writes().splitlines() if line.startswith("| ")]

    assert rows
    assert all(row in PAGE for row in rows)


def test_the_page_has_all_that_is_listed() -> None:
    assert all(f"\n| {name} |" in PAGE for name in {**queries(40), **mixed_queries()})


def test_the_page_counts_the_shards() -> None:
    assert f"There are {N_SHARDS} shards" in PAGE
