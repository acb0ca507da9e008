"""Latency of the dashboard's pages with 100,000 stored completions on SQLite.

``python -m benchmarks.dashboard``: the app without a model in this process, asked without a socket,
one request after the other, each kind in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from starlette.types import ASGIApp, Message

from benchmarks.storing import percentile
from functions.http.api_app import create_api_app
from shared.config.settings import Settings
from shared.storage.sqlite.store import SQLiteStore
from shared.storage.types import DEFAULT_TENANT, StoredCompletion

_N = 100_000
_ROUNDS = 100
"""Requests of each kind."""
_WARM_UP = 5
_EPOCH_MS = 1_735_689_600_000
_STEP_MS = 60_000
"""From one completion to the next."""
_WORDS = (
    *["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "runs", "into"],
    "deep",
    "wood",
)


def main() -> None:
    """Fill a store, ask for pages, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--completions", type=int, default=_N)
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        ids = _fill(Path(directory), options.completions)
        app = create_api_app(Settings(data_dir=Path(directory)))
        print(asyncio.run(_table(app, _paths(ids), options.rounds)))
        app.state.server.close()


def _fill(directory: Path, n: int) -> list[str]:
    """Store ``n`` completions; their ids, oldest first."""
    chance = random.Random(100)
    store = SQLiteStore(directory / "completions.sqlite3")
    # What is written survives no power loss, and takes a fifth of the time.
    store._file._synchronous = "OFF"
    ids = []
    with closing(store):
        for number in range(n):
            completion = _completion(chance, number)
            store.put(completion)
            ids.append(completion.id)
    return ids


def _completion(chance: random.Random, number: int) -> StoredCompletion:
    """As a server stores them: about 2 KB of text, one in twenty with log probabilities."""
    milliseconds = _EPOCH_MS + number * _STEP_MS
    completion_id = f"chatcmpl-{milliseconds:012x}{chance.randbytes(8).hex()}"
    words = chance.choices(_WORDS, k=chance.randint(20, 400))
    logprobs = None
    if number % 20 == 7:
        top = [{"token": word, "logprob": -1.0, "bytes": None} for word in _WORDS[:5]]
        content = [{"token": word, "logprob": -0.3, "top_logprobs": top} for word in words]
        logprobs = {"content": content, "refusal": None}
    message = {"role": "assistant", "content": " ".join(words)}
    choice = {
        "index": 0,
        "finish_reason": "length" if number % 50 == 0 else "stop",
        "message": message,
        "logprobs": logprobs,
    }
    usage = {"prompt_tokens": 90, "completion_tokens": len(words), "total_tokens": 90 + len(words)}
    asked = " ".join(chance.choices(_WORDS, k=60))
    return StoredCompletion(
        id=completion_id,
        kind="chat",
        tenant=DEFAULT_TENANT,
        created=milliseconds // 1000,
        model="large" if number % 100 == 0 else "small",
        request={"model": "small", "messages": [{"role": "user", "content": asked}]},
        response={"id": completion_id, "choices": [choice], "usage": {**usage, "cost": 0.00012}},
        used={"seed": number, "temperature": 0.7},
        metadata={"task": _WORDS[number % 5], "number": str(number % 1000)},
        timings={"total_seconds": 1.5, "decode_seconds": 1.2},
    )


def _paths(ids: list[str]) -> Mapping[str, str]:
    """Pages by what the table calls them."""
    middle = quote(ids[len(ids) // 2])
    pages = "/dashboard/completions"
    return {
        "newest page": pages,
        "a page in the middle": f"{pages}?after={middle}",
        "back from the middle": f"{pages}?before={middle}",
        "of a model (1 in 100)": f"{pages}?model=large",
        "two pairs of metadata (1 in 1,000)": f"{pages}?metadata=task%3Dthe&metadata=number%3D500",
        "in a day": f"{pages}?since=2025-01-20T00:00&until=2025-01-21T00:00",
        "cut by length (1 in 50), no index": f"{pages}?finish=length",
        "one completion": f"{pages}/{quote(ids[-2])}",
        "one with log probabilities": f"{pages}/{quote(ids[len(ids) // 20 * 20 - 13])}",
        "export, its form": "/dashboard/export",
    }


async def _table(app: ASGIApp, paths: Mapping[str, str], rounds: int) -> str:
    times: dict[str, list[float]] = {name: [] for name in paths}
    sizes: dict[str, int] = {}
    for turn in range(rounds + _WARM_UP):
        for name, path in paths.items():
            begun = time.perf_counter()
            sizes[name] = await _ask(app, path)
            if turn >= _WARM_UP:
                times[name].append(time.perf_counter() - begun)
    rows = ["| page | KB | p50, ms | p95, ms |", "|---|---:|---:|---:|"]
    for name, found in times.items():
        size = math.ceil(sizes[name] / 1024)
        rows.append(
            f"| {name} | {size} | {percentile(found, 50):.1f} | {percentile(found, 95):.1f} |"
        )
    return "\n".join(rows)


async def _ask(app: ASGIApp, path: str) -> int:
    """Ask for a page; its bytes."""
    route, _, query = path.partition("?")
    status = size = 0

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status, size
        status = message.get("status", status)
        size += len(message.get("body", b""))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": route,
        "raw_path": route.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1:8000")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }
    await app(scope, receive, send)
    assert status == 200, f"{path}: {status}"
    return size


if __name__ == "__main__":
    main()
