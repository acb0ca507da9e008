"""What a stream says while nothing is generated yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.completion import client_disconnect
from shared.completion.client_disconnect import KeepAliveTimer
from shared.engine.mailbox.generation import Generation
from shared.engine.types import GenerationRequest, Output, SamplingParams


def waiting_generation() -> Generation:
    """A request that the engine has not begun."""
    request = GenerationRequest(prompt=[1], max_tokens=1, sampling=SamplingParams(seed=0))
    return Generation([request], asyncio.get_running_loop(), lambda _: None)


async def batches(generation: Generation) -> AsyncIterator[list[Output]]:
    """What its reader finds, as a stream reads it."""
    with KeepAliveTimer(generation) as timer:
        while not generation.is_finished:
            outputs = await generation.receive()
            timer.is_quiet = not outputs
            yield outputs


@pytest.mark.anyio
async def test_a_quiet_period_gives_an_empty_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_disconnect, "KEEP_ALIVE_SECONDS", 0.001)
    generation = waiting_generation()
    outputs = batches(generation)
    assert [await anext(outputs), await anext(outputs)] == [[], []]
    last = Output(0, "x", finish_reason="stop")
    generation.push(last)
    assert [output async for batch in outputs for output in batch] == [last]


@pytest.mark.anyio
async def test_outputs_come_without_waiting_for_the_period() -> None:
    generation = waiting_generation()
    first, last = Output(0, "x"), Output(0, "y", finish_reason="stop")
    generation.push(first)
    generation.push(last)
    assert [batch async for batch in batches(generation)] == [[first, last]]


@pytest.mark.anyio
async def test_a_cancelled_generation_ends_the_outputs() -> None:
    generation = waiting_generation()
    asyncio.get_running_loop().call_soon(generation.cancel)
    assert not any([batch async for batch in batches(generation)])
