"""The stores under test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing

import pytest

from shared.storage.base import CompletionStore
from tests.storage.dynamodb.aws import Aws
from tests.storage.dynamodb.moto_server import moto_server
from tests.storage.stores import STORES

_numbers = itertools.count()


@pytest.fixture(scope="session")
def moto_url(stand_ins: None) -> Iterator[str]:
    """moto's server, for all tests that need one."""
    with moto_server() as url:
        yield url


@pytest.fixture(scope="session")
def shared_aws(moto_url: str) -> Aws:
    """A table and a bucket that the tests of all stores share."""
    aws = Aws.fresh(moto_url)
    with closing(aws.store()) as store:
        store.initialize()
    return aws


@pytest.fixture(params=[pytest.param(name, marks=marks) for name, (_, marks) in STORES.items()])
def store(request: pytest.FixtureRequest) -> Iterator[CompletionStore]:
    """Each store in turn, ready for use."""
    store = STORES[request.param][0](request)
    yield store
    store.close()


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test has: stores may be shared between tests."""
    return f"tenant-{next(_numbers)}"


@pytest.fixture
def other_tenant() -> str:
    """Another one."""
    return f"tenant-{next(_numbers)}"
