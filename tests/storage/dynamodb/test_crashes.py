"""Processes are killed: what they had acknowledged is there, and nothing dangles."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from multiprocessing.connection import Connection

import pytest

from shared.storage.types import CompletionQuery, StoredCompletion
from tests.processes import PROCESSES
from tests.storage.completions import sample
from tests.storage.dynamodb.aws import Aws
from tests.storage.dynamodb.faults import Fault, FaultyProxy
from tests.storage.dynamodb.operations import OPERATIONS, before

pytestmark = pytest.mark.usefixtures("processes")

N_PUTS = 1000
N_ACKNOWLEDGED = 200
"""After how many puts the process is killed."""


def operate(name: str, aws: Aws, url: str, tenant: str) -> None:
    """What the process does that is killed."""
    OPERATIONS[name].run(aws.store(url), tenant)


def put_many(aws: Aws, tenant: str, acknowledgements: Connection) -> None:
    """Put completions in several threads, and say which have been."""
    store = aws.store()
    lock = threading.Lock()

    def put(number: int) -> None:
        store.put(sample(number, tenant=tenant, metadata={"task": "a"}))
        with lock:
            acknowledgements.send(number)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(put, range(N_PUTS)))


@pytest.mark.parametrize("is_late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("name", "at", "call"),
    [
        ("put", 0, "PUT"),
        ("put", 1, "TransactWriteItems"),
        ("update", 2, "TransactWriteItems"),
        ("delete", 1, "TransactWriteItems"),
        ("delete", 3, "DELETE"),
        ("delete", 4, "DeleteItem"),
    ],
)
def test_a_process_may_be_killed_at_any_write(
    name: str, at: int, call: str, is_late: bool, shared_aws: Aws, tenant: str, proxy: FaultyProxy
) -> None:
    operation = OPERATIONS[name]
    shared_aws.preload(before(tenant))
    process = PROCESSES.Process(target=operate, args=(name, shared_aws, proxy.url, tenant))
    proxy.reset(
        lambda number, name: Fault("kill", is_late, process.pid or 0) if number == at else None
    )

    process.start()
    process.join()

    assert process.exitcode == -signal.SIGKILL
    assert proxy.calls[at] == call
    completions = list(shared_aws.check(tenant).completions)
    assert completions in (before(tenant), list(operation.after(tenant)))
    with closing(shared_aws.store()) as store:
        assert list(whole_list(shared_aws, tenant)) == completions
        operation.run(store, tenant)
    contents = shared_aws.check(tenant)
    assert list(contents.completions) == list(operation.after(tenant))
    assert contents.n_bodies == len(contents.completions)


def test_what_a_killed_deletion_left_is_found_without_its_id(
    shared_aws: Aws, tenant: str, proxy: FaultyProxy
) -> None:
    shared_aws.preload(before(tenant))
    process = PROCESSES.Process(target=operate, args=("delete", shared_aws, proxy.url, tenant))
    proxy.reset(lambda number, name: Fault("kill", pid=process.pid or 0) if number == 3 else None)
    process.start()
    process.join()
    assert shared_aws.check(tenant).n_bodies == 4

    with closing(shared_aws.store()) as store:
        assert store.sweep() == 1
        assert store.sweep() == 0

    contents = shared_aws.check(tenant)
    assert list(contents.completions) == list(OPERATIONS["delete"].after(tenant))
    assert contents.n_bodies == 3


def test_a_completion_put_again_survives_its_unfinished_deletion(
    shared_aws: Aws, tenant: str, proxy: FaultyProxy
) -> None:
    shared_aws.preload(before(tenant))
    process = PROCESSES.Process(target=operate, args=("delete", shared_aws, proxy.url, tenant))
    proxy.reset(lambda number, name: Fault("kill", pid=process.pid or 0) if number == 3 else None)
    process.start()
    process.join()

    with closing(shared_aws.store()) as store:
        for completion in before(tenant):
            store.put(completion)
        store.sweep()

    assert list(shared_aws.check(tenant).completions) == before(tenant)


def test_nothing_acknowledged_is_missing_after_a_kill_in_the_middle_of_many(
    shared_aws: Aws, tenant: str
) -> None:
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=put_many, args=(shared_aws, tenant, sender))
    process.start()
    sender.close()

    acknowledged = {receiver.recv() for _ in range(N_ACKNOWLEDGED)}
    process.kill()
    acknowledged |= set(remaining(receiver))
    process.join()

    assert process.exitcode == -signal.SIGKILL
    assert N_ACKNOWLEDGED <= len(acknowledged) < N_PUTS
    listed = {completion.id: completion for completion in whole_list(shared_aws, tenant)}
    for number in acknowledged:
        completion = sample(number, tenant=tenant, metadata={"task": "a"})
        assert listed[completion.id] == completion
    assert len(shared_aws.check(tenant).completions) == len(listed)


def remaining(receiver: Connection) -> Iterator[int]:
    """What a process that is no more had still sent."""
    try:
        while True:
            yield receiver.recv()
    except (EOFError, OSError):  # the end, or a message that was not sent to its end
        return


def whole_list(aws: Aws, tenant: str) -> Iterator[StoredCompletion]:
    """What the store lists, page after page."""
    with closing(aws.store()) as store:
        has_more, after = True, None
        while has_more:
            query = CompletionQuery(tenant=tenant, kind="chat", limit=100, after=after)
            page = store.list(query)
            yield from page.completions
            has_more = page.has_more
            after = page.completions[-1].id if page.completions else None
