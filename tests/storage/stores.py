"""The stores that the contract suite runs on. A new store is an entry of `STORES`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shared.storage.base import CompletionStore
from shared.storage.sqlite.store import SQLiteStore
from tests.storage.dynamodb.aws import Aws

StoreFactory = Callable[[pytest.FixtureRequest], CompletionStore]
"""Makes a store of its own or one over what other tests use too: each test has its own tenant.

It is ready for use. Asks for what it needs with ``request.getfixturevalue``. The fixture ``store``
closes it.
"""


def _sqlite(request: pytest.FixtureRequest) -> CompletionStore:
    directory: Path = request.getfixturevalue("tmp_path")
    store = SQLiteStore(directory / "completions.sqlite3")
    store.initialize()
    return store


def _dynamodb(request: pytest.FixtureRequest) -> CompletionStore:
    aws: Aws = request.getfixturevalue("shared_aws")
    return aws.store()


STORES: dict[str, tuple[StoreFactory, list[pytest.MarkDecorator]]] = {
    "sqlite": (_sqlite, []),
    "dynamodb": (_dynamodb, [pytest.mark.integration]),
}
"""Each with its tests' marker, where what it asks for is not seen before it runs."""
