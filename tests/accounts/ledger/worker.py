"""Process that answers requests of a project, and may kill itself between two steps."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import TypeVar

from shared.accounts.ledger.ledger import Ledger
from shared.accounts.ledger.reservation import OverBudgetError, RateLimitedError, Reservation
from shared.accounts.ledger.usage import Group, Usage
from shared.accounts.limits import RateLimits
from shared.accounts.records import Records
from shared.storage.base import WouldBlockError

T = TypeVar("T")

PROJECT = "proj_1"
STEPS = ("begun", "reserved", "settled", "answered")
N_REQUESTS = 4
TOKENS = 10
"""That each request reserves; it uses fewer."""
BUDGET = 10_000
LIMITS = RateLimits(tokens_per_minute=100_000)


def open_records(store: str) -> Records:
    """The records at a store."""
    kind, _, rest = store.partition(":")
    if kind == "sqlite":
        from pathlib import Path

        from shared.accounts.sqlite_records import SQLiteRecords

        return SQLiteRecords(Path(rest), timeout=120, survives_power_loss=False)
    from shared.accounts.dynamodb_records import DynamoDBRecords
    from tests.storage.dynamodb.aws import PATIENT, new_session

    table, _, url = rest.partition(":")
    return DynamoDBRecords(table, retries=PATIENT, session=new_session(), endpoint_url=url)


def used(n: int) -> Usage:
    """What a worker's request comes to."""
    return Usage(requests=1, prompt=n + 1, completion=1, completion_cost=2)


def at_once_or_blocking(call: Callable[..., T]) -> T:
    """The result of a call of the ledger, as servers make them."""
    try:
        return call(blocking=False)
    except WouldBlockError:
        return call(blocking=True)


def work(store: str, name: str, killed_at: str, answers: Connection) -> None:
    """Answer requests; be killed in the midst of the last one, at a step.

    ``store`` is ``sqlite:PATH`` or ``dynamodb:TABLE:URL``. Of each answer its tokens are sent.
    """
    ledger = Ledger(open_records(store), time.time)
    group = Group(key_id=name, model="small", tier="default")

    def step(reached: str, n: int) -> None:
        if reached == killed_at and n == N_REQUESTS - 1:
            os.kill(os.getpid(), signal.SIGKILL)

    for n in range(N_REQUESTS):
        asked = Reservation(
            id=f"{name}-{n}",
            model="small",
            tokens=TOKENS,
            cost=5,
            expires_at=int(time.time()) + 3600,
        )
        step("begun", n)
        try:
            reserved = at_once_or_blocking(partial(ledger.reserve, PROJECT, asked, LIMITS, BUDGET))
        except (RateLimitedError, OverBudgetError):
            continue
        step("reserved", n)
        at_once_or_blocking(partial(ledger.settle, PROJECT, asked, group, used(n), reserved.shard))
        step("settled", n)
        answers.send(used(n).prompt + used(n).completion)
        step("answered", n)
