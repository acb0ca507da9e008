"""A project's single requests while another one fills the queue: how long each waits.

Two projects on one server. One keeps far more requests in the queue than run at once; the other
sends a single request at a time. For comparison the single requests come from the busy project
itself, as they would wait if nobody took turns, and from an idle server.

    python -m benchmarks.fair_shares
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx2

from benchmarks.__main__ import BUILTIN_MODEL
from benchmarks.metering import Keys
from benchmarks.process import HOST
from benchmarks.storing import percentile, server

_PARALLEL = 4
_BUSY = 64
"""Requests that the busy project keeps in the queue."""
_SINGLE = 40
"""Requests that are measured, one after the other."""
_TOKENS = 32
_NAME = "benchmark"


def markdown() -> str:
    """A table with a row for each caller."""
    keys = Keys(_NAME)
    options = ("--accounts", "true", "--alias", _NAME, "--parallel", str(_PARALLEL))
    prices = ("--prices", json.dumps({_NAME: {"prompt": 1, "completion": 2}}))
    with server("sqlite", BUILTIN_MODEL, 2, *options, *prices, prepare=keys.make) as port:
        rows = asyncio.run(_rows(port, keys.by_kind))
    head = "| single requests of | first token, p50 / p95 ms | whole answer, p50 / p95 ms |"
    title = f"## {_BUSY} requests of {_TOKENS} tokens in the queue, {_PARALLEL} run at once"
    return "\n".join([title, "", head, "|---|---|---|", *rows, ""])


async def _rows(port: int, keys: Mapping[str, str]) -> list[str]:
    limits = httpx2.Limits(max_connections=None)
    url = f"http://{HOST}:{port}"
    async with httpx2.AsyncClient(base_url=url, timeout=120, limits=limits) as http:
        rows = [await _row(http, "another project, idle server", keys["limits"])]
        async with _queue_filled(http, keys["usage"]):
            rows.append(await _row(http, "another project", keys["limits"]))
            rows.append(await _row(http, "the busy project", keys["usage"]))
    return rows


async def _row(http: httpx2.AsyncClient, caller: str, key: str) -> str:
    took = [await _request(http, key) for _ in range(_SINGLE)]
    firsts, wholes = [first for first, _ in took], [whole for _, whole in took]
    cells = " | ".join(
        f"{percentile(each, 50):.0f} / {percentile(each, 95):.0f}" for each in (firsts, wholes)
    )
    return f"| {caller} | {cells} |"


@asynccontextmanager
async def _queue_filled(http: httpx2.AsyncClient, key: str) -> AsyncIterator[None]:
    """Keep so many requests waiting."""

    async def go_on() -> None:
        while True:
            await _request(http, key)

    tasks = [asyncio.create_task(go_on()) for _ in range(_BUSY)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _request(http: httpx2.AsyncClient, key: str) -> tuple[float, float]:
    """Seconds to the first token and to the last one."""
    body = {
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": _TOKENS,
        "ignore_eos": True,
        "stream": True,
    }
    headers = {"authorization": f"Bearer {key}"}
    started, first = time.perf_counter(), None
    async with http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if first is None and '"content":"' in line and '"content":""' not in line:
                first = time.perf_counter()
    assert first is not None
    return first - started, time.perf_counter() - started


if __name__ == "__main__":
    print(markdown())
