"""What accounts cost: latency of one-token requests, and of the streams beside them.

The same server, model and requests, by a key from settings, by that of a project without limits
(usage is counted), and by that of one with rate limits and a budget. They take turns from request
to request, in every order: what a machine's clock and neighbours do within seconds, and what one
request leaves for the next, all three have. DynamoDB is moto's server, in a process of its own.
"""

import asyncio
import json
import os
import time
from collections.abc import Mapping
from contextlib import closing
from itertools import cycle, islice, permutations
from pathlib import Path
from unittest.mock import patch

import httpx2

from benchmarks.process import HOST
from benchmarks.storing import percentile, server
from shared.accounts.accounts import open_accounts
from shared.accounts.audit_log import Actor

SUITE = "accounts"

_TURNS = 200
"""Requests of each kind in a round."""
_REQUESTS = 60
"""Of one kind beside streams, one after the other."""
_STREAMS = 4
_STREAM_TOKENS = 600
_SETTINGS_KEY = "key-from-settings"
_BODY = {"messages": [{"role": "user", "content": "Hi"}], "ignore_eos": True}
_OPERATOR = Actor()
_KINDS = ("settings", "usage", "limits")


class Keys:
    """Keys by kind, made before the server starts."""

    def __init__(self, model: str) -> None:
        self.by_kind = {"settings": _SETTINGS_KEY}
        self._model = model

    def make(self, location: str, environment: Mapping[str, str]) -> None:
        """Create the projects; see `benchmarks.storing.server`."""
        with patch.dict(os.environ, environment):
            directory = Path(environment["PILOTLIGHT_DATA_DIR"])
            with closing(open_accounts(location, directory)) as accounts:
                for kind in ("usage", "limits"):
                    project = accounts.projects.create(_OPERATOR, kind)
                    owner = accounts.service_accounts.create(_OPERATOR, project.id, kind)
                    _, self.by_kind[kind] = accounts.keys.issue(_OPERATOR, kind, owner)
                limits = {"requests_per_minute": 10**6, "tokens_per_minute": 10**9}
                accounts.projects.limit_rates(_OPERATOR, project.id, self._model, **limits)
                accounts.projects.limit_spending(_OPERATOR, project.id, cents=10**8)


def markdown(model: Path, rounds: int, threads: int) -> str:
    """A table with a row for each store."""
    rows = [
        "| store | no accounts, p50 / p95 ms | usage counted | with limits and a budget | gap "
        "between tokens of other streams, p99 ms: no accounts | with limits |",
        "|---|---|---|---|---|---|",
    ]
    name = "benchmark"
    prices = json.dumps({name: {"prompt": 1, "completion": 2}})
    options = ("--accounts", "true", "--api-key", _SETTINGS_KEY, "--alias", name)
    for store in ("sqlite", "dynamodb"):
        keys = Keys(name)
        with server(store, model, threads, *options, "--prices", prices, prepare=keys.make) as port:
            rows.append(asyncio.run(_row(store, port, rounds, keys.by_kind)))
    return "\n".join(["## What accounts cost", "", *rows, ""])


async def _row(store: str, port: int, rounds: int, keys: Mapping[str, str]) -> str:
    latencies: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    gaps: dict[str, list[float]] = {kind: [] for kind in ("settings", "limits")}
    async with httpx2.AsyncClient(base_url=f"http://{HOST}:{port}", timeout=120) as http:
        for kind in _KINDS:
            await _latencies(http, 5, keys[kind])  # connections and code are there from now on
        for _ in range(rounds):
            for kinds in islice(cycle(permutations(_KINDS)), _TURNS):
                for kind in kinds:
                    latencies[kind] += await _latencies(http, 1, keys[kind])
            for kind in gaps:
                gaps[kind] += await _gaps_beside(http, keys, kind)
    cells = [
        f"{percentile(latencies[kind], 50):.2f} / {percentile(latencies[kind], 95):.2f}"
        for kind in _KINDS
    ]
    cells += [f"{percentile(gaps[kind], 99):.1f}" for kind in gaps]
    return f"| {store} | " + " | ".join(cells) + " |"


async def _latencies(http: httpx2.AsyncClient, count: int, key: str) -> list[float]:
    """Seconds for each of ``count`` requests of a token."""
    seconds = []
    headers = {"authorization": f"Bearer {key}"}
    for _ in range(count):
        started = time.perf_counter()
        response = await http.post(
            "/v1/chat/completions", json={**_BODY, "max_tokens": 1}, headers=headers
        )
        seconds.append(time.perf_counter() - started)
        response.raise_for_status()
    return seconds


async def _gaps_beside(http: httpx2.AsyncClient, keys: Mapping[str, str], kind: str) -> list[float]:
    """Seconds between the arrivals of streams without accounts, while requests come and go."""
    others = asyncio.create_task(_latencies(http, _REQUESTS, keys[kind]))
    streams = await asyncio.gather(*(_gaps(http, keys["settings"]) for _ in range(_STREAMS)))
    await others
    return [gap for gaps in streams for gap in gaps]


async def _gaps(http: httpx2.AsyncClient, key: str) -> list[float]:
    body = {**_BODY, "max_tokens": _STREAM_TOKENS, "stream": True}
    headers = {"authorization": f"Bearer {key}"}
    gaps, last = [], None
    async with http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as response:
        async for _ in response.aiter_raw():
            now = time.perf_counter()
            if last is not None:
                gaps.append(now - last)
            last = now
    return gaps
