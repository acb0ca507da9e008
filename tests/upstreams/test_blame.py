"""A timeout counts as the upstream's failure where bytes were waited for, and else as nobody's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shared.config.upstreams import UpstreamModel
from shared.upstreams.client import UpstreamClient
from shared.upstreams.connection import Answer
from shared.upstreams.errors import UpstreamError
from shared.upstreams.request import UpstreamRequest
from tests.upstreams.fake_upstream import STREAM_HEAD, FakeUpstream, chunk, delta, stalls


async def _read(answer: Answer) -> None:
    async for _ in answer:
        pass


async def _read_too_slowly(_: Answer) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(("reads", "is_blamed"), [(_read, True), (_read_too_slowly, False)])
def test_a_timeout_is_the_fault_of_whoever_was_waited_for(
    upstream: FakeUpstream, reads: Callable[[Answer], Awaitable[None]], is_blamed: bool
) -> None:
    upstream.answer = stalls(STREAM_HEAD, chunk(delta("Pa")))
    model = UpstreamModel(upstream=upstream.url, mode="direct", timeout=2, max_failures=1)

    async def ask(client: UpstreamClient) -> None:
        request = UpstreamRequest("big", model, b"{}", {})
        async with client.exchange(request, "/chat/completions", [], None) as answer:
            await reads(answer)

    async def ask_twice() -> str | None:
        client = UpstreamClient({"big": model})
        code = None
        for _ in range(2):
            with pytest.raises(UpstreamError) as refused:
                await ask(client)
            code = refused.value.code
        await client.close()
        return code

    assert asyncio.run(ask_twice()) == ("upstream_unavailable" if is_blamed else "upstream_timeout")
