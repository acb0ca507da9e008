"""What ``store: true`` costs: latency of the request itself, and of the streams beside it.

The same server, model and requests, stored or not, alternately. DynamoDB and S3 are moto's server,
in a process of its own, over HTTP; what a real network adds comes on top, twice.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2
import numpy as np

from benchmarks.process import HOST, free_port

SUITE = "store"

_REQUESTS = 60
"""Of each kind in a round, one after the other."""
_TOKENS = 16
_STREAMS = 4
_STREAM_TOKENS = 600
_BODY = {
    "messages": [{"role": "user", "content": "Tell me a story about a fox."}],
    "metadata": {"task": "benchmark", "tier": "free"},
    "ignore_eos": True,
}


def markdown(model: Path, rounds: int, threads: int) -> str:
    """A table with a row for each store."""
    rows = [
        "| store | not stored, p50 / p95 ms | stored, p50 / p95 ms | gap between tokens of other "
        "streams, p99 ms: not stored | stored |",
        "|---|---|---|---|---|",
    ]
    for store in ("sqlite", "dynamodb"):
        with server(store, model, threads) as port:
            rows.append(asyncio.run(_row(store, port, rounds)))
    return "\n".join(["## What storing costs", "", *rows, ""])


async def _row(store: str, port: int, rounds: int) -> str:
    latencies: dict[bool, list[float]] = {False: [], True: []}
    gaps: dict[bool, list[float]] = {False: [], True: []}
    async with httpx2.AsyncClient(base_url=f"http://{HOST}:{port}", timeout=120) as http:
        await _latencies(http, 5, stored=True)  # connections and code are there from now on
        for _ in range(rounds):
            for stored in (False, True):
                latencies[stored] += await _latencies(http, _REQUESTS, stored=stored)
                gaps[stored] += await _gaps_beside(http, stored=stored)
    cells = [
        f"{percentile(latencies[stored], 50):.1f} / {percentile(latencies[stored], 95):.1f}"
        for stored in (False, True)
    ]
    cells += [f"{percentile(gaps[stored], 99):.1f}" for stored in (False, True)]
    return f"| {store} | " + " | ".join(cells) + " |"


async def _latencies(http: httpx2.AsyncClient, count: int, *, stored: bool) -> list[float]:
    """Seconds for each of ``count`` requests."""
    seconds = []
    for seed in range(count):
        body = {**_BODY, "max_tokens": _TOKENS, "store": stored, "seed": seed}
        started = time.perf_counter()
        response = await http.post("/v1/chat/completions", json=body)
        seconds.append(time.perf_counter() - started)
        if stored and response.headers["x-stored"] != "true":
            raise RuntimeError("the store of the benchmark failed")
    return seconds


async def _gaps_beside(http: httpx2.AsyncClient, *, stored: bool) -> list[float]:
    """Seconds between the arrivals of streams, while other requests come and go."""
    others = asyncio.create_task(_latencies(http, _REQUESTS, stored=stored))
    streams = await asyncio.gather(*(_gaps(http) for _ in range(_STREAMS)))
    await others
    return [gap for gaps in streams for gap in gaps]


async def _gaps(http: httpx2.AsyncClient) -> list[float]:
    body = {**_BODY, "max_tokens": _STREAM_TOKENS, "stream": True}
    gaps, last = [], None
    async with http.stream("POST", "/v1/chat/completions", json=body) as response:
        async for _ in response.aiter_raw():
            now = time.perf_counter()
            if last is not None:
                gaps.append(now - last)
            last = now
    return gaps


def percentile(seconds: list[float], percent: float) -> float:
    """In milliseconds."""
    return float(np.percentile(seconds, percent)) * 1000


@contextmanager
def server(
    store: str,
    model: Path,
    threads: int,
    *options: str,
    prepare: Callable[[str, Mapping[str, str]], None] | None = None,
) -> Iterator[int]:
    """A server with ``store`` and further options; gives its port.

    ``prepare`` gets the store's location and the environment for it before the server starts.
    """
    with tempfile.TemporaryDirectory() as directory:
        environment = {**os.environ, "PILOTLIGHT_DATA_DIR": directory}
        processes = []
        location = store
        try:
            if store == "dynamodb":
                aws_port = free_port()
                environment |= {
                    "AWS_ENDPOINT_URL": f"http://{HOST}:{aws_port}",
                    "AWS_ACCESS_KEY_ID": "testing",
                    "AWS_SECRET_ACCESS_KEY": "testing",
                    "AWS_DEFAULT_REGION": "us-east-1",
                }
                location = "dynamodb:completions,completions"
                moto = ["-m", "moto.server", "-H", HOST, "-p", str(aws_port)]
                processes.append(_spawn(moto, environment))
                _wait(f"http://{HOST}:{aws_port}/moto-api/")
                command = ["-m", "functions.cli", "store", "init", "--store", location]
                subprocess.run([sys.executable, *command], env=environment, check=True)
            if prepare is not None:
                prepare(location, environment)
            port = free_port()
            place = ["--port", str(port), "--model", str(model), "--threads", str(threads)]
            command = ["-m", "functions.cli", "serve", "--store", location, *place, *options]
            processes.append(_spawn(command, environment))
            _wait(f"http://{HOST}:{port}/health")
            yield port
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait(30)


def _spawn(arguments: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        [sys.executable, *arguments], env=environment, stdout=quiet, stderr=quiet
    )


def _wait(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx2.get(url).is_success:
                return
        except httpx2.TransportError:
            time.sleep(0.1)
    raise RuntimeError(f"{url} does not answer")
