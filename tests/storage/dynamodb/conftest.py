"""A table and a bucket for each test, and a proxy that fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.storage.dynamodb.aws import Aws
from tests.storage.dynamodb.faults import FaultyProxy


@pytest.fixture
def aws(moto_url: str) -> Aws:
    """A table and a bucket of the test's own, with nothing in them."""
    aws = Aws.fresh(moto_url)
    with closing(aws.store()) as store:
        store.initialize()
    return aws


@pytest.fixture
def proxy(moto_url: str) -> Iterator[FaultyProxy]:
    """A proxy before moto's server, which does no harm until it gets a plan."""
    with FaultyProxy(moto_url).serving() as proxy:
        yield proxy
