"""Processes that answer for one project, some killed between each two steps: nothing is miscounted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from shared.accounts.ledger.counters import Counters
from shared.accounts.ledger.ledger import Ledger
from shared.accounts.ledger.token_bucket import UNIT
from tests.accounts.ledger.worker import (
    N_REQUESTS,
    PROJECT,
    STEPS,
    TOKENS,
    open_records,
    used,
    work,
)
from tests.processes import PROCESSES
from tests.storage.dynamodb.aws import Aws

_SURVIVORS = 4
_KILLED = 3
"""Processes that are killed, for each step."""
N_PROCESSES = int(os.environ.get("SOAK_FACTOR", "1")) * (_SURVIVORS + _KILLED * len(STEPS))
"""16, or more of them where that is asked for."""

Store = Callable[[pytest.FixtureRequest], str]


def _sqlite(request: pytest.FixtureRequest) -> str:
    directory: Path = request.getfixturevalue("tmp_path")
    return f"sqlite:{directory / 'accounts.sqlite3'}"


def _dynamodb(request: pytest.FixtureRequest) -> str:
    aws = Aws.fresh(request.getfixturevalue("moto_url"))
    return f"dynamodb:{aws.table}:{aws.url}"


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("place", [_sqlite, _dynamodb], ids=["sqlite", "dynamodb"])
def test_counters_are_the_sum_of_the_answers(request: pytest.FixtureRequest, place: Store) -> None:
    store = place(request)
    with closing(open_records(store)) as records:
        records.initialize()
    killed_at = [
        STEPS[n // _KILLED % len(STEPS)] if n >= _SURVIVORS else "never" for n in range(N_PROCESSES)
    ]
    pipes = [PROCESSES.Pipe(duplex=False) for _ in killed_at]
    workers = [
        PROCESSES.Process(target=work, args=(store, f"w{n}", step, pipes[n][1]))
        for n, step in enumerate(killed_at)
    ]
    for worker, (_, sender) in zip(workers, pipes, strict=True):
        worker.start()
        sender.close()
    answers = [list(_received(receiver)) for receiver, _ in pipes]
    for worker in workers:
        worker.join(500)
    status = [worker.exitcode for worker in workers]
    assert [each == 0 for each in status] == [step == "never" for step in killed_at]

    n_sent = sum(map(len, answers))
    tokens = sum(map(sum, answers))
    # Those are counted, and were killed before the last bytes left.
    n_unsent = killed_at.count("settled")
    last = used(N_REQUESTS - 1)
    with closing(open_records(store)) as records:
        found = Ledger(records, time.time).usage(PROJECT, "d", 0, 2**40)
        counters = Ledger(records, time.time).counters(PROJECT)
    usages = [usage for groups in found.values() for usage in groups.values()]
    assert n_sent + n_unsent == sum(usage.requests for usage in usages)
    assert sum(usage.prompt + usage.completion for usage in usages) == (
        tokens + n_unsent * (last.prompt + last.completion)
    )
    assert counters.spent == 2 * (n_sent + n_unsent)
    _check_reservations(counters, killed_at.count("reserved"))


def _received(answers: Connection) -> Iterator[int]:
    """The tokens of all answers, until the process has ended."""
    with answers, suppress(EOFError):
        while True:
            yield answers.recv()


def _check_reservations(counters: Counters, n_dead: int) -> None:
    """Nothing is held but what the dead have reserved, and that is given back in time."""
    bucket = counters.buckets["small"]["tokens_per_minute"]
    assert len(counters.reservations) == n_dead
    assert (counters.held, bucket.held) == (5 * n_dead, TOKENS * UNIT * n_dead)
    counters.take_back_expired(time.time() + 3601)
    assert (counters.held, bucket.held, counters.reservations) == (0, 0, {})
