"""What constrained requests cost the streams beside them: gaps between the tokens of four streams.

Beside them one request after the other runs: without a constraint, with a JSON Schema, and with a
grammar that leaves a great many ways to go on, whose masks take up to a second. The three kinds
take turns within a round.
"""

import asyncio
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.process import HOST
from benchmarks.storing import percentile, server

SUITE = "grammars"

_STREAMS = 4
_TOKENS = 100
_PROMPT = "Tell me a story about a fox."
_HOSTILE = "start: s\ns: s s | s s s | /[a-z ]/"
_SCHEMA = {
    "type": "array",
    "minItems": 100,
    "items": {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
        "required": ["name", "age"],
    },
}
_KINDS: dict[str, dict[str, Any]] = {
    "no constraint": {"ignore_eos": True},
    "a JSON Schema": {"json_schema": _SCHEMA},
    "a hostile grammar": {"grammar": _HOSTILE},
}


def markdown(model: Path, rounds: int, threads: int) -> str:
    """A table with a row for each kind of request beside the streams."""
    rows = [
        "| the request beside them has | gap p50, ms | p95 | p99 | largest |",
        "|---|---|---|---|---|",
    ]
    with server("sqlite", model, threads) as port:
        for kind, gaps in asyncio.run(_measure(port, rounds)).items():
            cells = [percentile(gaps, percent) for percent in (50, 95, 99, 100)]
            rows.append(f"| {kind} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |")
    return "\n".join(["## Streams beside constrained requests", "", *rows, ""])


async def _measure(port: int, rounds: int) -> dict[str, list[float]]:
    gaps: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    async with httpx2.AsyncClient(base_url=f"http://{HOST}:{port}", timeout=240) as http:
        for fields in _KINDS.values():
            await _one(http, 2, fields)  # what is compiled is kept
        for _ in range(rounds):
            for kind, fields in _KINDS.items():
                gaps[kind] += await _beside(http, kind, fields)
    return gaps


async def _beside(http: httpx2.AsyncClient, kind: str, fields: dict[str, Any]) -> list[float]:
    """Seconds between the arrivals of streams, while requests of a kind run one by one."""
    other = asyncio.create_task(_repeat(http, fields))
    streams = await asyncio.gather(*(_gaps(http, seed) for seed in range(_STREAMS)))
    if other.done():
        other.result()
        raise RuntimeError(f"the request with {kind} ended")
    other.cancel()
    with suppress(asyncio.CancelledError):
        await other
    return [gap for gaps in streams for gap in gaps]


async def _repeat(http: httpx2.AsyncClient, fields: dict[str, Any]) -> None:
    while True:
        await _one(http, 400, fields)


async def _one(http: httpx2.AsyncClient, n_tokens: int, fields: dict[str, Any]) -> None:
    """A request of a kind; one whose grammar takes too long ends with an error."""
    body = {"prompt": _PROMPT, "max_tokens": n_tokens, **fields}
    await http.post("/v1/completions", json=body)


async def _gaps(http: httpx2.AsyncClient, seed: int) -> list[float]:
    """Those after the fifth token: by then all streams have begun."""
    body = {
        **{"prompt": _PROMPT, "max_tokens": _TOKENS, "seed": seed},
        **{"ignore_eos": True, "stream": True},
    }
    async with http.stream("POST", "/v1/completions", json=body) as response:
        response.raise_for_status()
        arrivals = [time.perf_counter() async for _ in response.aiter_raw()]
    return [later - earlier for earlier, later in pairwise(arrivals[5:])]
