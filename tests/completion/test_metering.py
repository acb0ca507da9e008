"""What a request of a project is counted with, however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from shared.accounts.ledger.reservation import Reservation
from shared.accounts.ledger.usage import Group, Usage
from shared.accounts.limits import RateLimits
from shared.accounts.types import Project
from shared.completion.generated_tokens import GeneratedTokens
from shared.completion.metering import Meter
from shared.config.prices import Price
from shared.engine.context_window import ContextWindow
from shared.engine.types import (
    GenerationRequest,
    Output,
    PromptProgress,
    SamplingParams,
    SequenceUsage,
)
from shared.protocol.errors import APIError
from shared.runtime import request_context

_PROMPT = (1, 2, 3)
_PROGRESS = PromptProgress(total=3, cached=0, processed=1, seconds=0.1)


class _Ledger:
    """A ledger that notes what is settled."""

    def __init__(self) -> None:
        self.settled: list[Usage] = []

    def settle(
        self,
        project_id: str,
        asked: Reservation,
        group: Group,
        used: Usage,
        shard: int | None,
        *,
        blocking: bool,
    ) -> None:
        assert shard is None  # nothing was reserved
        assert blocking
        self.settled.append(used)


def _counted(
    end: Callable[[Meter, GeneratedTokens], None],
    n: int = 1,
    prices: Mapping[str, Price] | None = None,
) -> Usage:
    """The usage that is settled for a request that goes as ``end`` says."""
    ledger: Any = _Ledger()

    async def in_ledger(work: Callable[[Any, bool], None]) -> None:
        work(ledger, True)

    state: Any = SimpleNamespace(
        settings=SimpleNamespace(price=(prices or {}).get),
        clock=lambda: 0.0,
        stores=SimpleNamespace(in_ledger=in_ledger),
    )
    request = GenerationRequest(prompt=_PROMPT, max_tokens=9, sampling=SamplingParams(seed=0), n=n)
    project = Project(id="proj_1", name="shop", created_at=0)
    group = Group(key_id="key_1", model="small", tier="default")
    tokens = GeneratedTokens([request], ContextWindow(100))
    meter = Meter(state, project, tokens, group)

    async def run() -> None:
        request_context.begin("req_1", "POST")
        await meter.reserve()
        end(meter, tokens)
        await meter.abandon()
        await meter.abandon()

    asyncio.run(run())
    (used,) = ledger.settled
    assert isinstance(used, Usage)
    return used


def _usage(completion: int) -> SequenceUsage:
    return SequenceUsage(
        prompt_tokens=3,
        cached_tokens=2,
        completion_tokens=completion,
        queue_seconds=0,
        prefill_seconds=0,
        decode_seconds=0,
    )


@pytest.mark.parametrize(
    ("outputs", "n_completion"),
    [
        ([], 0),
        ([Output(0, "", progress=_PROGRESS)] * 4, 0),
        ([Output(0, "", progress=_PROGRESS), Output(0, "ab", n_sampled=2)], 2),
        ([Output(0, "a", n_sampled=1), Output(1, "defg", n_sampled=7)], 8),
        ([Output(0, "a", n_sampled=3, usage=_usage(3)), Output(0, "b", n_sampled=5)], 5),
    ],
)
def test_a_choice_that_was_cut_off_counts_with_its_tokens(
    outputs: Sequence[Output], n_completion: int
) -> None:
    assert _counted(lambda _, tokens: tokens.add(outputs), n=2) == Usage(1, 3, 0, n_completion)


def test_a_choice_that_has_ended_counts_with_its_usage() -> None:
    end = Output(0, "b", finish_reason="stop", usage=_usage(4), n_sampled=4)
    used = _counted(lambda _, tokens: tokens.add([Output(0, "a", n_sampled=1), end]))
    assert used == Usage(1, 3, 2, 4)


def test_what_failed_counts_nothing() -> None:
    def fail(meter: Meter, tokens: GeneratedTokens) -> None:
        tokens.add([Output(0, "a", n_sampled=1)])
        meter.forgive()

    assert _counted(fail) == Usage()


def test_a_model_without_a_price_has_no_cost() -> None:
    costs: list[float | None] = []
    _counted(lambda meter, _: costs.append(meter.cost), prices={"large": Price(prompt=Decimal(1))})
    assert costs == [None]


def test_the_cost_is_what_is_settled() -> None:
    costs: list[float | None] = []

    def end(meter: Meter, tokens: GeneratedTokens) -> None:
        tokens.add([Output(0, "b", finish_reason="stop", usage=_usage(4), n_sampled=4)])
        costs.append(meter.cost)

    price = Price(prompt=Decimal("0.001"), cached=Decimal(0), completion=Decimal("0.2"))
    used = _counted(end, prices={"small": price})
    assert used.cost == 801
    assert costs == [0.000000801]


def test_a_refused_request_ends_what_it_does_for_the_organization() -> None:
    """Where a function is frozen afterwards, nobody else would for a minute."""
    ended: list[str] = []

    class Organization:
        has_limit = True

        async def reserve(self) -> None:
            ended.append("reserved")

        async def settle(self) -> None:
            ended.append("settled")

    async def refuse(_: object) -> None:
        raise APIError(429, "too much")

    state: Any = SimpleNamespace(
        settings=SimpleNamespace(price=lambda _: None),
        clock=lambda: 0.0,
        stores=SimpleNamespace(in_accounts=refuse),
    )
    limits = {"small": RateLimits(requests_per_minute=1)}
    project = Project(id="proj_1", name="shop", created_at=0, rate_limits=limits)
    group = Group(key_id="key_1", model="small", tier="default")
    meter = Meter(state, project, GeneratedTokens([], ContextWindow(100)), group)
    meter._organization = Organization()  # type: ignore[assignment]
    with pytest.raises(APIError):
        asyncio.run(meter.reserve())
    assert ended == ["reserved", "settled"]


@pytest.mark.parametrize(
    ("limits", "may_be_refused"),
    [({}, False), ({"small": RateLimits(requests_per_minute=1)}, True)],
    ids=["no limits", "limits"],
)
def test_who_has_limits_may_be_refused_until_they_are_reserved(
    limits: dict[str, RateLimits], may_be_refused: bool
) -> None:
    ledger: Any = SimpleNamespace(
        reserve=lambda *_, **__: SimpleNamespace(shard=None, states=[]),
    )

    async def in_accounts(work: Callable[[Any], None]) -> None:
        work(SimpleNamespace(ledger=ledger))

    state: Any = SimpleNamespace(
        settings=SimpleNamespace(price=lambda _: None),
        clock=lambda: 0.0,
        stores=SimpleNamespace(in_accounts=in_accounts),
    )
    project = Project(id="proj_1", name="shop", created_at=0, rate_limits=limits)
    group = Group(key_id="key_1", model="small", tier="default")
    meter = Meter(state, project, GeneratedTokens([], ContextWindow(100)), group)
    assert meter.has_reserved is not may_be_refused
    asyncio.run(meter.reserve())
    assert meter.has_reserved
