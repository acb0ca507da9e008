"""Time to the first token of a prompt whose beginning is stored, from each place it may be in.

Each is a process of its own that has seen nothing of the prompt, except for memory, where another
prompt has taken its KV cells, and for the snapshot, which has it in them. The bucket is a server on
this machine: one as fast as the loopback, and one whose connections are as slow as S3's.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import httpx2

from benchmarks.process import HOST, free_port

SUITE = "prefixes"

_LENGTHS = (256, 1024, 4096)
"""Tokens of the beginning; 16 others follow."""
_CONTEXT = 4608
_BUCKET = "s3://prefixes/x"
_S3 = {"s3, loopback": (), "s3, 30 ms, 90 MB/s": ("--delay", "30", "--rate", "90")}
_READY_SECONDS = 120.0


def markdown(model: Path, rounds: int, threads: int, logs: Path) -> str:
    """A table with a row for each place."""
    seconds: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for length in _LENGTHS:
            for place, value in _measure(model, threads, length, logs):
                seconds.setdefault((place, length), []).append(value)
                print(f"  {place}, {length} tokens: {value:.3f} s", file=sys.stderr, flush=True)
    places = list(dict.fromkeys(place for place, _ in seconds))
    rows = [
        "| place | " + " | ".join(f"{length} tokens, ms" for length in _LENGTHS) + " |",
        "|---" * (len(_LENGTHS) + 1) + "|",
    ]
    for place in places:
        cells = []
        for length in _LENGTHS:
            value, whole = median(seconds[place, length]), median(seconds[places[0], length])
            cells.append(f"{value * 1000:.0f} ({value / whole:.1%})")
        rows.append(f"| {place} | " + " | ".join(cells) + " |")
    title = "## Time to the first token behind a stored prefix"
    return "\n".join([title, "", *rows, ""])


def _measure(model: Path, threads: int, length: int, logs: Path) -> Iterator[tuple[str, float]]:
    beginning, end, other = _tokens(length, 1), _tokens(16, 2), _tokens(300, 3)
    prompt = beginning + end
    with tempfile.TemporaryDirectory() as folder:

        @contextmanager
        def fresh(store: str = folder, url: str = "") -> Iterator[httpx2.Client]:
            with _server(model, threads, logs, url, store) as http:
                # What a snapshot has: weights in memory, the client of S3, code that has run once.
                _first_token(http, other)
                yield http

        with fresh() as http:
            yield "evaluated", _first_token(http, prompt)
        with fresh() as http:
            yield "directory", _first_token(http, prompt)
            _first_token(http, other)
            yield "memory", _first_token(http, prompt)
        for place, options in _S3.items():
            with _bucket(folder, *options) as port, fresh(_BUCKET, f"http://{HOST}:{port}") as http:
                yield place, _first_token(http, prompt)
        with fresh() as http:
            _first_token(http, beginning)
            yield "snapshot (KV cache)", _first_token(http, prompt)


def _tokens(count: int, seed: int) -> list[int]:
    """Plain tokens of the model that is made for benchmarks."""
    return [1000 + (seed * 7919 + i * 104729) % 100_000 for i in range(count)]


def _first_token(http: httpx2.Client, prompt: list[int]) -> float:
    body = {"prompt": prompt, "max_tokens": 2, "temperature": 0, "stream": True}
    body["prompt_cache_key"] = "benchmark"
    started = time.perf_counter()
    first = 0.0
    with http.stream("POST", "/v1/completions", json=body) as response:
        for line in response.iter_lines():
            if not first and line.startswith("data: {") and json.loads(line[6:])["choices"]:
                first = time.perf_counter() - started
    return first


@contextmanager
def _bucket(folder: str, *options: str) -> Iterator[int]:
    command = [sys.executable, "-m", "benchmarks.prefix_server", folder, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


@contextmanager
def _server(model: Path, threads: int, logs: Path, url: str, store: str) -> Iterator[httpx2.Client]:
    port = free_port()
    settings = {"port": port, "model": model, "threads": threads, "ctx_size": _CONTEXT}
    settings |= {"parallel": 1, "kv_unified": "false", "store": "none"}
    settings |= {"prefix_store": store, "prefix_memory": 2**30, "prefix_timeout": 10}
    environment = {f"PILOTLIGHT_{name.upper()}": str(value) for name, value in settings.items()}
    if url:
        environment |= {"AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1"}
        environment |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    with (logs / "prefixes.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "functions.cli", "serve"],
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
        )
        try:
            with httpx2.Client(base_url=f"http://{HOST}:{port}", timeout=300) as http:
                _await_ready(http)
                yield http
        finally:
            process.terminate()
            process.wait(30)


def _await_ready(http: httpx2.Client) -> None:
    until = time.monotonic() + _READY_SECONDS
    while time.monotonic() < until:
        try:
            if http.get("/health").is_success:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError("the server does not get ready: see its log")
