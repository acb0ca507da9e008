"""The stores under test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from shared.storage.base import CompletionStore
from tests.storage.stores import STORES

_numbers = itertools.count()


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
