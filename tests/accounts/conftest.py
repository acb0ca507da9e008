"""Accounts on each store in turn, with a clock that tests set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from shared.accounts.accounts import Accounts
from shared.accounts.dynamodb_records import DynamoDBRecords
from shared.accounts.records import Records
from shared.accounts.sqlite_records import SQLiteRecords
from tests.accounts.clock import Clock
from tests.storage.dynamodb.aws import PATIENT, Aws, shared_session

OpenRecords = Callable[[], Records]
"""Connects once more to the same records."""


def _sqlite(request: pytest.FixtureRequest) -> OpenRecords:
    directory: Path = request.getfixturevalue("tmp_path")
    return lambda: SQLiteRecords(directory / "accounts.sqlite3", survives_power_loss=False)


def _dynamodb(request: pytest.FixtureRequest) -> OpenRecords:
    url: str = request.getfixturevalue("moto_url")
    table = Aws.fresh(url).table
    return lambda: DynamoDBRecords(
        table, retries=PATIENT, session=shared_session(), endpoint_url=url
    )


@pytest.fixture(
    params=[
        pytest.param(_sqlite, id="sqlite"),
        pytest.param(_dynamodb, id="dynamodb", marks=pytest.mark.integration),
    ]
)
def open_records(request: pytest.FixtureRequest) -> OpenRecords:
    """Each store, initialized."""
    open_them: OpenRecords = request.param(request)
    with closing(open_them()) as records:
        records.initialize()
    return open_them


@pytest.fixture
def records(open_records: OpenRecords) -> Iterator[Records]:
    """The records under test."""
    with closing(open_records()) as records:
        yield records


@pytest.fixture
def clock() -> Clock:
    """The time for accounts."""
    return Clock()


@pytest.fixture
def accounts(records: Records, clock: Clock) -> Accounts:
    """Accounts of a deployment that has none yet."""
    return Accounts(records, clock)
