"""Networks and services fail: nothing acknowledged is lost, nothing dangles."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace

import pytest

from shared.storage.base import StoreError
from shared.storage.dynamodb.retries import RetryPolicy
from tests.storage.completions import sample
from tests.storage.dynamodb.aws import Aws
from tests.storage.dynamodb.faults import Fault, FaultyProxy, Plan
from tests.storage.dynamodb.operations import OPERATIONS, before

SHORT_DELAYS = RetryPolicy(
    budget=60, connect_timeout=5, read_timeout=0.5, first_delay=0.001, longest_delay=0.01
)
SMALL_BUDGET = RetryPolicy(
    budget=0.3, connect_timeout=0.05, read_timeout=0.1, first_delay=0.001, longest_delay=0.01
)
BUSY_MACHINE = 30.0
"""Seconds that a machine with better things to do may add."""

PASSING_FAULTS = [
    Fault("500"),
    Fault("throttling"),
    Fault("timeout", is_late=True),
    Fault("reset"),
    Fault("reset", is_late=True),
    Fault("cut"),
]


def count_calls(name: str, aws: Aws, tenant: str, proxy: FaultyProxy) -> int:
    """How many calls an operation makes when all is well."""
    aws.preload(before(tenant))
    proxy.reset()
    with closing(aws.store(proxy.url)) as store:
        OPERATIONS[name].run(store, tenant)
    return len(proxy.calls)


def once(fault: Fault, at: int) -> Plan:
    """It happens to call number ``at``."""
    return lambda number, name: fault if number == at else None


def lasting(fault: Fault, since: int) -> Plan:
    """It happens to call number ``since`` and all that follow."""
    return lambda number, name: fault if number >= since else None


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("fault", PASSING_FAULTS, ids=str)
def test_a_fault_that_passes_is_not_noticed(
    name: str, fault: Fault, shared_aws: Aws, tenant: str, proxy: FaultyProxy
) -> None:
    operation = OPERATIONS[name]
    n_calls = count_calls(name, shared_aws, f"{tenant}-whole", proxy)
    with closing(shared_aws.store(proxy.url, retries=SHORT_DELAYS)) as store:
        for at in range(n_calls):
            owner = f"{tenant}-{at}"
            shared_aws.preload(before(owner))
            proxy.reset(once(fault, at))

            operation.run(store, owner)

            # Half of an empty answer is a whole one.
            assert len(proxy.calls) > n_calls or fault.kind == "cut"
            contents = shared_aws.check(owner)
            assert list(contents.completions) == list(operation.after(owner))
            assert contents.n_bodies == len(contents.completions)


@pytest.mark.parametrize("name", ["put", "update", "delete"])
def test_a_transaction_that_meets_others_is_tried_again(
    name: str, shared_aws: Aws, tenant: str, proxy: FaultyProxy
) -> None:
    operation = OPERATIONS[name]
    shared_aws.preload(before(tenant))
    conflicts = iter([Fault("conflict")] * 3)
    proxy.reset(
        lambda number, name: next(conflicts, None) if name == "TransactWriteItems" else None
    )

    with closing(
        shared_aws.store(proxy.url, retries=replace(SHORT_DELAYS, read_timeout=30))
    ) as store:
        operation.run(store, tenant)

    assert list(shared_aws.check(tenant).completions) == list(operation.after(tenant))
    assert proxy.calls.count("TransactWriteItems") == 4


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        *((name, Fault("500")) for name in OPERATIONS),
        *((name, Fault("timeout", is_late=True)) for name in ("put", "delete")),
    ],
    ids=str,
)
def test_a_fault_that_stays_is_an_error_within_the_budget(
    name: str, fault: Fault, shared_aws: Aws, tenant: str, proxy: FaultyProxy
) -> None:
    operation = OPERATIONS[name]
    n_calls = count_calls(name, shared_aws, f"{tenant}-whole", proxy)
    with (
        closing(shared_aws.store(proxy.url, retries=SMALL_BUDGET)) as store,
        closing(shared_aws.store()) as healthy,
    ):
        for since in range(n_calls):
            owner = f"{tenant}-{since}"
            shared_aws.preload(before(owner))
            proxy.reset(lasting(fault, since))

            started = time.monotonic()
            with pytest.raises(StoreError, match="gave up after"):
                operation.run(store, owner)
            assert time.monotonic() - started < SMALL_BUDGET.budget + BUSY_MACHINE

            # It happened or it did not, and can be repeated.
            completions = list(shared_aws.check(owner).completions)
            assert completions in (before(owner), list(operation.after(owner)))
            operation.run(healthy, owner)
            contents = shared_aws.check(owner)
            assert list(contents.completions) == list(operation.after(owner))
            assert contents.n_bodies == len(contents.completions)


def test_an_endpoint_that_is_not_there_is_an_error_within_the_budget(
    shared_aws: Aws, tenant: str
) -> None:
    with closing(shared_aws.store("http://127.0.0.1:9", retries=SMALL_BUDGET)) as store:
        started = time.monotonic()
        location = f"dynamodb:{shared_aws.table},{shared_aws.bucket}"
        with pytest.raises(StoreError, match=f"^{location}: gave up after"):
            store.put(sample(tenant=tenant))

    assert time.monotonic() - started < SMALL_BUDGET.budget + BUSY_MACHINE


def test_an_error_that_will_not_pass_is_not_repeated(moto_url: str, proxy: FaultyProxy) -> None:
    nowhere = Aws.fresh(moto_url)
    location = f"dynamodb:{nowhere.table},{nowhere.bucket}"

    with (
        closing(nowhere.store(proxy.url)) as store,
        pytest.raises(StoreError, match=f"^{location}: GetItem failed.*store init"),
    ):
        store.get("tenant", "chat", sample(tenant="tenant").id)

    assert proxy.calls == ["GetItem"]


def test_a_budget_too_small_for_one_attempt_is_refused() -> None:
    with pytest.raises(ValueError, match="no room for one attempt"):
        RetryPolicy(budget=3, connect_timeout=1, read_timeout=3)
